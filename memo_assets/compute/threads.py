"""How many CPU threads a process may use, said to all libraries that decide it by themselves."""


def thread_variables(threads: int) -> dict[str, str]:
    """Environment variables for a process with so many threads; results depend on the number in the last bits."""
    count = str(threads)
    return {
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "OMP_DYNAMIC": "false",
        "MKL_DYNAMIC": "false",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
