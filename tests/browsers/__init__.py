"""JupyterLab in a real Chromium (tox -e browsers)."""
