"""JupyterLab, VS Code, terminals, a gateway's own pages in a real Chromium (tox -e browsers)."""
