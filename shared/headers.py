"""HTTP headers beside the SLO ones: between router and lens, and from the router to the client."""

REQUEST_ID = "x-request-id"
"""The client's name for its request, or one made for it; echoed, and in every log line of the request."""

DISPATCH = "x-synergy-dispatch"
"""Router → lens: `replica:number`, counting this replica's dispatches to this engine from 1."""

ENGINE = "x-synergy-engine"
"""Router → client: the engine that answers."""

PREDICTED_TTFT_MS = "x-synergy-predicted-ttft-ms"
"""Router → lens and client: time to first token foreseen when the request was sent."""

PREDICTED_TPOT_MS = "x-synergy-predicted-tpot-ms"
"""Router → lens and client: time per output token foreseen when the request was sent."""

ROUTE_REASON = "x-synergy-route-reason"
"""Router → client: why that engine."""

PRIORITY = "x-synergy-priority"
"""Client → router → lens: a whole number; a request of a higher one is served before all of lower ones. 0 unless told."""

TENANT = "x-synergy-tenant"
"""Router → lens: whose request it is. What is short is shared among tenants; cached text is shared within one only."""

RELEGATED = "x-synergy-relegated"
"""Lens → router → client: `true` where the prompt could not be on time and was served behind those that could."""

PROMPT_TOKENS = "x-synergy-prompt-tokens"
"""Lens → router → client: the prompt's tokens, counted by the engine's tokenizer with its template."""

RETRY_AFTER_MS = "retry-after-ms"
"""Every server → client: when to ask again, finer than `retry-after`; OpenAI's clients prefer it."""
