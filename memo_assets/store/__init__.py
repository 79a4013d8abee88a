"""Where everything a run leaves lies: files by name, atomic writes, warehouse tables and their SQL."""
