"""The two sides of a covariance: every layer and size has a row, and the heads of a network."""

from torch import nn

ENTRIES = ("channels_ms", "positions_ms", "ratio")


def test_every_layer_is_measured_on_both_sides(script, measured) -> None:
    layers = script("smaller_side").LAYERS
    small = {name: (build, {(2, 8, 2, 2): 1.0}) for name, (build, _) in layers.items()}
    sizes = {"LAYERS": small, "FEW": {8: 2}, "SHARES": (0.5, 1.0)}
    rows = measured("smaller_side", "--quick", **sizes)["rows"]
    parts = {part: [row for row in rows if row["part"] == part] for part in ("layers", "few")}
    assert {row["what"] for row in parts["layers"]} == set(layers)
    assert {tuple(row["shape"]) for row in parts["few"]} == {(2, 8, 4), (2, 8, 8)}
    for row in rows:
        assert all(row[key] > 0 for key in ENTRIES)
        assert row["positions_kept"] > 0
        assert max(row["positions_value_error"], row["positions_gradient_error"]) < 0.1


def test_the_share_of_a_network(script, monkeypatch) -> None:
    benchmark = script("smaller_side")
    monkeypatch.setattr(benchmark, "IMAGES", (1, 3, 64, 64))
    monkeypatch.setattr(benchmark, "REDUCED", 8)
    tiny = nn.Sequential(nn.Conv2d(3, 16, 16, 16), nn.ReLU(), nn.Identity(), nn.Identity())
    monkeypatch.setattr(benchmark.torchvision.models, "resnet50", lambda weights: tiny)
    rows = list(benchmark.network("cpu", 0.01))
    assert {row["what"] for row in rows} == set(benchmark.HEADS)
    for row in rows:
        assert 0 < row["positions_share"] < 1
        assert benchmark.line(row)
