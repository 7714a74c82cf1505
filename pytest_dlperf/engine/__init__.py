"""What acts: clocks, threads, processes and models. No pytest, no printing."""
