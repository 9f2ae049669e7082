"""What may be sent: a request body for every operation whose fields are all optional, or hard to guess.

The OpenAPI document and the pages below `/docs` show them; a test sends each of them.
"""

from __future__ import annotations

from typing import Any

EXAMPLES: dict[str, dict[str, Any]] = {
    "create_task": {
        "name": "Stand-up",
        "description": "Remind the team of the stand-up.",
        "schedule": "30 9 * * 1-5",
        "timezone": "Europe/Berlin",
    },
    "update_task": {"schedule": "@every 2h", "overlap": "queue", "maxTokensPerDay": 20_000},
    "trigger_task": {"prompt": "Remind the team that the stand-up is in the garden today."},
    "pause_task": {"until": "2030-01-07T08:00:00Z"},
    "create_backfill": {"from": "2020-01-01", "until": "2020-01-02", "atOnce": 2, "dryRun": True},
    "create_job": {"kind": "annotate", "all": True},
    "preview_job": {"what": "messages", "filter": {"before": "2020-01-01T00:00:00Z"}, "rate": "200/s"},
    "create_migration": {
        "baseUrl": "https://api.chatbotkit.com",
        "token": "sk-0123456789abcdef",
        "only": ["bots", "contacts", "conversations"],
        "since": "2026-01-01T00:00:00Z",
    },
    "confirm_job": {"confirmation": "3f0c8a52-7d1e-4b0a-9c55-0e6f4f1f2a77"},
    "update_policy": {"policy": {"preset": "recommended", "operators": {"email": "tokenise"}}},
    "update_bot_policy": {"policy": {"preset": "strict", "direction": "inbound"}},
    "update_conversation_policy": {"policy": {"preset": "tokenise"}},
    "preview_privacy": {
        "text": "Write to grace@example.com or call +49 30 901820.",
        "policy": {"preset": "recommended"},
    },
    "create_rule": {"source": "api", "anonymiseAfter": "90d", "deleteAfter": "1y"},
    "update_rule": {"deleteAfter": "2y"},
    "simulate_retention": {"what": "messages", "deleteAfter": "12w"},
    "place_hold": {"all": True, "reason": "A matter of 2026."},
    "create_secret": {"name": "weather", "type": "bearer", "value": "sk-0123456789abcdef"},
    "update_secret": {"type": "basic", "value": "ada:0123456789abcdef"},
    "create_subscription": {
        "kind": "webhook",
        "target": "https://hooks.example.com/crontalk",
        "events": ["failure", "missed", "paused"],
    },
    "update_subscription": {"events": ["failure"], "includeText": True},
    "create_bot": {
        "name": "helper",
        "backstory": "You are kind and brief.",
        "model": "offline",
    },
    "create_message": {"type": "user", "text": "Where is breakfast served?", "meta": {"page": "hotel"}},
    "create_messages": {
        "items": [
            {"type": "user", "text": "Where is breakfast served?"},
            {"type": "bot", "text": "On the terrace."},
        ]
    },
    "complete_stateless": {
        "backstory": "Breakfast is served on the terrace.",
        "messages": [{"type": "user", "text": "Where is breakfast served?"}],
    },
    "dispatch_stateless": {
        "backstory": "Breakfast is served on the terrace.",
        "messages": [{"type": "user", "text": "Where is breakfast served?"}],
    },
    "create_memory": {"text": "Prefers tea without milk.", "meta": {"source": "support"}},
    "update_memory": {"text": "Prefers tea with milk by now."},
    "create_record": {"text": "Breakfast is served on the terrace.", "source": "handbook"},
    "upload_attachment": {"file": {"type": "text/plain", "size": 5, "name": "hello.txt"}},
    "upload_attachment_as_the_npm_sdk_does": {"file": {"type": "text/plain", "size": 5, "name": "hello.txt"}},
    "upload_import": {"file": {"type": "application/zip", "size": 5, "name": "export.zip"}},
    "upload_file": {"file": {"type": "text/plain", "size": 5, "name": "hello.txt"}},
    "create_session": {"durationInSeconds": 7200},
    "create_bot_session": {
        "durationInSeconds": 1800,
        "messages": [{"type": "bot", "text": "Hello! What can I do for you?"}],
        "meta": {"page": "checkout"},
    },
}
