"""Ask the gateway something, and be done: the whole script.

Set GWSYNC_URL and GWSYNC_TOKEN (or write gwsync.configure(url, token=...)).
"""

import gwsync

health = gwsync.request("health")
print("the gateway is", "well" if health["ok"] else "not well")
for agent in health.get("agents", []):
    print("  agent", agent["agentId"])
