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

P_MET = "x-synergy-p-met"
"""Router → client: how probable it was at the decision that all targets would be met, 0 to 1."""

TELEMETRY_AGE_MS = "x-synergy-telemetry-age-ms"
"""Router → client: how old what was known of the engine's load was at the decision."""

ROUTE_MS = "x-synergy-route-ms"
"""Router → client: how long the decision took."""

PRIORITY = "x-synergy-priority"
"""Client → router → lens: a whole number; a request of a higher one is served before all of lower ones. 0 unless told."""

TENANT = "x-synergy-tenant"
"""Router → lens: whose request it is: the API key says it, or, where there are no keys, the client. What is short is shared among tenants; cached text is shared within one only."""

RATE_LIMIT = "x-ratelimit-limit-requests"
"""Router → client: the requests that its API key may make at once."""

RATE_REMAINING = "x-ratelimit-remaining-requests"
"""Router → client: how many of them it may make now."""

RATE_RESET = "x-ratelimit-reset-requests"
"""Router → client: until it may make all of them again, as `1m2.5s`."""

RELEGATED = "x-synergy-relegated"
"""Lens → router → client: `true` where the prompt could not be on time and was served behind those that could."""

PROMPT_TOKENS = "x-synergy-prompt-tokens"
"""Lens → router → client: the prompt's tokens, counted by the engine's tokenizer with its template."""

RETRY_AFTER_MS = "retry-after-ms"
"""Every server → client: when to ask again, finer than `retry-after`; OpenAI's clients prefer it."""

SHOULD_RETRY = "x-should-retry"
"""Every server → client: `false` where the same request will never be answered; OpenAI's clients then do not ask again."""
