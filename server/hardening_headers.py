"""Headers that keep a browser from guessing an answer's type, and from showing it inside a foreign page."""

HARDENING = (  # of every answer
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),  # CORS goes before it
)
POLICY = "Content-Security-Policy"  # of every answer that is HTML
EVERYWHERE = "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
