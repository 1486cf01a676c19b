"""What a reader of the results relies on: the entries of the metadata and of each row, by file.

The name of a file in ``results/`` starts with its schema's name: ``layers-cpu-quick.json``.
"""

SURROUNDINGS = """
    date device cpu cpu_count threads omp_wait_policy torch python covlayers command dtype
    min_time_s
"""
STEP = "layer shape time_ms time_iqr_ms relative kept_over_input peak_over_input"
MODULES = f"{SURROUNDINGS} malloc_trim_threshold baseline"

SCHEMAS = {
    "matrix_functions": {
        "metadata": f"{SURROUNDINGS} condition_number spectrum seed baseline",
        "rows": """
            function n batch dtype method backward role status time_ms time_iqr_ms forward_ms
            forward_iqr_ms relative value_error gradient_error saved_bytes peak_bytes
        """,
    },
    "layers": {"metadata": f"{MODULES} eps", "rows": f"{STEP} memory_format group_size whiteness"},
    "heads": {"metadata": MODULES, "rows": f"{STEP} group"},
    "style": {"metadata": f"{MODULES} eps", "rows": f"{STEP} moments"},
    "targets": {
        "metadata": f"{SURROUNDINGS} condition_number seed",
        "rows": """
            what against quantity promised measured holds value_error gradient_error
            value_bound gradient_bound time_ms time_iqr_ms against_ms against_iqr_ms
        """,
    },
    "scaling": {
        "metadata": f"{SURROUNDINGS} fixed condition_number",
        "rows": """
            what along sizes time_ms peak_bytes kept_bytes time_exponent peak_exponent kept_exponent
        """,
    },
    "data_parallel": {
        "metadata": f"{SURROUNDINGS} backend",
        "rows": """
            processes layer num_features num_groups shape time_ms time_iqr_ms samples_per_s
            bytes_all_reduced
        """,
    },
    "thread_split": {
        "metadata": f"{SURROUNDINGS} condition_number",
        "rows": "n batch plain_ms split_ms again_ms split_over_plain again_over_plain",
    },
    "gpu": {"metadata": f"{SURROUNDINGS} packages", "rows": "part case status"},
    "overhead": {
        "metadata": f"{SURROUNDINGS} condition_number",
        "rows": """
            part what shape step against own_us against_us ratio at_most gpu_forward gpu_backward
            cpu_forward cpu_backward
        """,
    },
    "smaller_side": {
        "metadata": f"{SURROUNDINGS} seed",
        "rows": """
            part what shape channels_ms positions_ms ratio at_most channels_kept positions_kept
            channels_value_error positions_value_error channels_gradient_error
            positions_gradient_error step_ms channels_share positions_share
        """,
    },
    "guarantees": {
        "metadata": f"{SURROUNDINGS} condition_number",
        "rows": "property implementation outcome",
    },
}
