"""Input series for promtool. No alert fires with `HEALTHY`. `CASES` has the changes that fire each alert."""

EXPIRY = "cognito_lookup_tls_certificate_expiry_timestamp_seconds"
MINUTE = 60
DAY = 86400
SERVICE = 'grpc_type="unary",grpc_service="userlookup.v1.UserService",grpc_method="GetUser"'


def handled_total(code: str) -> str:
    return f'grpc_server_handled_total{{{SERVICE},grpc_code="{code}"}}'


def duration_bucket(bound: str) -> str:
    return f'grpc_server_handling_seconds_bucket{{{SERVICE},le="{bound}"}}'


def upstream_calls(outcome: str) -> str:
    return f'cognito_lookup_upstream_calls_total{{operation="AdminGetUser",outcome="{outcome}"}}'


def caller_requests(outcome: str) -> str:
    return f'cognito_lookup_caller_requests_total{{caller="web",outcome="{outcome}"}}'


HEALTHY = {
    'cognito_lookup_build_info{version="1"}': "1x100",
    handled_total("OK"): "0+6000x100",
    handled_total("NotFound"): "0+600x100",
    handled_total("Unavailable"): "0+6x100",
    handled_total("Unauthenticated"): "0+600x100",
    caller_requests("Answered"): "0+6000x100",
    caller_requests("Refused"): "0+1200x100",
    # A caller beyond its answers_per_second is no failure of the service.
    caller_requests("Limited"): "0+600x100",
    caller_requests("Failed"): "0+3x100",
    'cognito_lookup_caller_users_total{caller="web"}': "0+6000x100",
    'cognito_lookup_caller_users_total{caller="batch"}': "0x80 0+90x20",
    "cognito_lookup_settings_outdated": "0x100",
    duration_bucket("0.005"): "0+6500x100",
    duration_bucket("0.5"): "0+6590x100",
    f"grpc_server_handling_seconds_count{{{SERVICE}}}": "0+6600x100",
    duration_bucket("1.0"): "0+6600x100",
    duration_bucket("2.5"): "0+6600x100",
    duration_bucket("+Inf"): "0+6600x100",
    upstream_calls("Answered"): "0+600x100",
    upstream_calls("Failed"): "0+6x100",
    upstream_calls("TimedOut"): "0+6x100",
    upstream_calls("Throttled"): "0x100",
    upstream_calls("Denied"): "0x100",
    'cognito_lookup_upstream_unusable_answers_total{flaw="AnotherUser"}': "0+1x100",
    'cognito_lookup_upstream_unusable_answers_total{flaw="Garbled"}': "0x100",
    'cognito_lookup_upstream_unusable_answers_total{flaw="Mismatch"}': "0x100",
    'cognito_lookup_upstream_circuit_open{pool="eu-west-1_A",operation="AdminGetUser"}': "0x85 1x1 0x14",
    # Not ready while it starts.
    'cognito_lookup_pool_ready{pool="eu-west-1_A",instance="new"}': "1x86 0x2 1x12",
    'cognito_lookup_pool_ready{pool="eu-west-1_A",instance="old"}': "1x100",
    'cognito_lookup_upstream_refusals_total{category="UserRead"}': "0x100",
    'cognito_lookup_upstream_budget_scope{account="123456789012",region="eu-west-1",scope="Shared"}': "1x85 0x2 1x13",
    'cognito_lookup_upstream_budget_scope{account="123456789012",region="eu-west-1",scope="CutOff"}': "0x85 1x0 0x14",
    'cognito_lookup_upstream_budget_scope{account="123456789012",region="eu-west-1",scope="Warm"}': "0x86 1x0 0x13",
    # The store was restarted: a minute without it, one gap, and new connections.
    "cognito_lookup_shared_cache_open": "0x85 1x1 0x14",
    "cognito_lookup_shared_cache_gaps_total": "0x85 1x15",
    'cognito_lookup_shared_cache_unreadable_total{reason="Binding"}': "0x100",
    'cognito_lookup_shared_cache_unreadable_total{reason="Key"}': "0x100",
    'cognito_lookup_shared_cache_unreadable_total{reason="TooNew"}': "0+6x100",
    'cognito_lookup_shared_cache_reconnects_total{reason="Age"}': "0+1x100",
    'cognito_lookup_shared_cache_reconnects_total{reason="Closed"}': "0x85 2x15",
    # The store was away, and a replica has started.
    "cognito_lookup_revocations_unpublished": "0x85 3x2 0x13",
    "cognito_lookup_revocations_caught_up": "1x85 0x2 1x13",
    "cognito_lookup_events_caught_up": "1x85 0x2 1x13",
    "cognito_lookup_revocation_marks_dropped_total": "0x100",
    'cognito_lookup_shared_cache_marks_dropped_total{kind="Revocation"}': "0x100",
    'cognito_lookup_shared_cache_marks_dropped_total{kind="GroupChange"}': "0+6x100",
    # A failed receive, a new replica without an event, and events that say little.
    "cognito_lookup_events_stale": "0x85 1x1 0x14",
    'cognito_lookup_events_last_timestamp_seconds{instance="old"}': "0+60x100",
    'cognito_lookup_events_last_timestamp_seconds{instance="new"}': f"-{2 * DAY}x100",
    "cognito_lookup_events_polled_timestamp_seconds": "0+60x100",
    'cognito_lookup_events_total{event="other",outcome="Malformed"}': "0x100",
    'cognito_lookup_events_total{event="GlobalSignOut",outcome="NoSubject"}': "0x100",
    'cognito_lookup_events_total{event="RevokeToken",outcome="NoSubject"}': "0+6x100",
    'cognito_lookup_cache_lookups_total{outcome="Fresh"}': "0+6000x100",
    'cognito_lookup_cache_lookups_total{outcome="Stale"}': "0x100",
    'cognito_lookup_cache_evictions_total{store="Users"}': "0+30x100",
    'cognito_lookup_cache_evictions_total{store="Absences"}': "0+600x100",
    'cognito_lookup_connections_refused_total{limit="Connections"}': "0x100",
    'cognito_lookup_jwks_fetched_timestamp_seconds{pool="eu-west-1_A"}': "0+60x100",
    "cognito_lookup_accept_failures_total": "0x100",
    # A failover that ended the streams of a few clients.
    'cognito_lookup_watch_cuts_total{reason="Lost"}': "0x70 8x30",
    'cognito_lookup_watch_cuts_total{reason="TooSlow"}': "0x70 1x30",
    'cognito_lookup_watch_cuts_total{reason="Moved"}': "0+6x100",
    # A burst that has passed.
    "cognito_lookup_memory_refusals_total": "0x70 0+100x3 300x26",
    "cognito_lookup_audit_records_dropped_total": "0x100",
    "cognito_lookup_tls_reload_failures_total": "0x100",
    f'{EXPIRY}{{instance="in two weeks"}}': f"{14 * DAY + 90 * MINUTE}x100",
    # A server without TLS exports 0.
    f'{EXPIRY}{{instance="plain"}}': "0x100",
}

# By alert: the series that override HEALTHY, or None for no series at all; and the labels of each
# firing alert.
CASES: dict[str, tuple[dict[str, str] | None, list[dict[str, str]]]] = {
    "CognitoLookupAbsent": (None, [{}]),
    "CognitoLookupErrors": ({caller_requests("Failed"): "0+120x100"}, [{}]),
    "CognitoLookupRefusesTokens": ({handled_total("Unauthenticated"): "0+9000x100"}, [{}]),
    "CognitoLookupSlow": ({duration_bucket("1.0"): "0+6500x100", duration_bucket("0.5"): "0+6500x100"}, [{}]),
    "CognitoLookupDenied": ({upstream_calls("Denied"): "0x86 1x14"}, [{"operation": "AdminGetUser"}]),
    "CognitoLookupKeysOld": (
        # promtool's clock starts at 0. The metric is also 0 if no fetch has succeeded yet.
        {'cognito_lookup_jwks_fetched_timestamp_seconds{pool="eu-west-1_A"}': "0x100"},
        [{"pool": "eu-west-1_A"}],
    ),
    "CognitoLookupWrongUser": (
        {'cognito_lookup_upstream_unusable_answers_total{flaw="Mismatch"}': "0x80 1x20"},
        [{}],
    ),
    "CognitoLookupAnotherUser": (
        {'cognito_lookup_upstream_unusable_answers_total{flaw="AnotherUser"}': "0+12x100"},
        [{}],
    ),
    "CognitoLookupUnreadable": (
        {'cognito_lookup_upstream_unusable_answers_total{flaw="Garbled"}': "0x80 1x20"},
        [{}],
    ),
    "CognitoLookupCircuitOpen": (
        {'cognito_lookup_upstream_circuit_open{pool="eu-west-1_A",operation="AdminGetUser"}': "0x87 1x13"},
        [{"pool": "eu-west-1_A", "operation": "AdminGetUser"}],
    ),
    "CognitoLookupPoolNotReady": (
        {'cognito_lookup_pool_ready{pool="eu-west-1_A",instance="new"}': "1x84 0x16"},
        [{"pool": "eu-west-1_A", "instance": "new"}],
    ),
    "CognitoLookupUpstreamFailing": ({upstream_calls("TimedOut"): "0+120x100"}, [{}]),
    "CognitoLookupServesStale": ({'cognito_lookup_cache_lookups_total{outcome="Stale"}': "0+6x100"}, [{}]),
    "CognitoLookupThrottled": ({upstream_calls("Throttled"): "0+6x100"}, [{"operation": "AdminGetUser"}]),
    "CognitoLookupBudgetExhausted": (
        {'cognito_lookup_upstream_refusals_total{category="UserRead"}': "0+6x100"},
        [{"category": "UserRead"}],
    ),
    "CognitoLookupBudgetNotShared": (
        {'cognito_lookup_upstream_budget_scope{account="123456789012",region="eu-west-1",scope="CutOff"}': "0x86 1x14"},
        [{"account": "123456789012", "region": "eu-west-1", "scope": "CutOff"}],
    ),
    "CognitoLookupSharedCacheDown": ({"cognito_lookup_shared_cache_open": "0x84 1x16"}, [{}]),
    "CognitoLookupSharedCacheGaps": ({"cognito_lookup_shared_cache_gaps_total": "0x70 0+1x30"}, [{}]),
    "CognitoLookupSharedCacheUnreadable": (
        {'cognito_lookup_shared_cache_unreadable_total{reason="Key"}': "0x80 1x20"},
        [{"reason": "Key"}],
    ),
    "CognitoLookupSharedCacheReconnects": (
        {'cognito_lookup_shared_cache_reconnects_total{reason="Timeouts"}': "0x70 0+1x30"},
        [{"reason": "Timeouts"}],
    ),
    "CognitoLookupRevocationsMissing": ({"cognito_lookup_revocations_caught_up": "1x80 0x20"}, [{}]),
    "CognitoLookupRevocationsDropped": (
        {'cognito_lookup_shared_cache_marks_dropped_total{kind="Revocation"}': "0x85 1x15"},
        [{}],
    ),
    "CognitoLookupEventsNotReceived": ({"cognito_lookup_events_stale": "0x87 1x13"}, [{}]),
    "CognitoLookupEventsSilent": (
        {'cognito_lookup_events_last_timestamp_seconds{instance="old"}': f"-{DAY}x100"},
        [{}],
    ),
    "CognitoLookupEventsUnreadable": (
        {'cognito_lookup_events_total{event="other",outcome="Malformed"}': "0x80 1x20"},
        [{}],
    ),
    "CognitoLookupEventsWithoutUser": (
        {'cognito_lookup_events_total{event="GlobalSignOut",outcome="NoSubject"}': "0x80 1x20"},
        [{"event": "GlobalSignOut"}],
    ),
    "CognitoLookupWatchLost": ({'cognito_lookup_watch_cuts_total{reason="Lost"}': "0x70 0+8x30"}, [{}]),
    "CognitoLookupWatchTooSlow": ({'cognito_lookup_watch_cuts_total{reason="TooSlow"}': "0x70 0+1x30"}, [{}]),
    "CognitoLookupCacheTooSmall": ({'cognito_lookup_cache_evictions_total{store="Users"}': "0+120x100"}, [{}]),
    "CognitoLookupConnectionsRefused": (
        {'cognito_lookup_connections_refused_total{limit="Connections"}': "0+6x100"},
        [{"limit": "Connections"}],
    ),
    "CognitoLookupMemoryRefused": ({"cognito_lookup_memory_refusals_total": "0+6x100"}, [{}]),
    "CognitoLookupCannotAccept": ({"cognito_lookup_accept_failures_total": "0+6x100"}, [{}]),
    "CognitoLookupAuditLost": ({"cognito_lookup_audit_records_dropped_total": "0x86 1x14"}, [{}]),
    "CognitoLookupBadCertificate": ({"cognito_lookup_tls_reload_failures_total": "0x85 1x15"}, [{}]),
    # promtool evaluates the alerts at 90 min on its own clock.
    "CognitoLookupCertificateEnds": ({f'{EXPIRY}{{instance="late"}}': f"{14 * DAY + 80 * MINUTE}x100"}, [{"instance": "late"}]),
    "CognitoLookupCertificateEndsSoon": (
        {f'{EXPIRY}{{instance="late"}}': f"{3 * DAY + 80 * MINUTE}x100"},
        [{"instance": "late"}],
    ),
    "CognitoLookupCallerReadsMore": (
        {'cognito_lookup_caller_users_total{caller="batch"}': "0+10x70 700+6000x30"},
        [{"caller": "batch"}],
    ),
    "CognitoLookupReloadRefused": ({"cognito_lookup_settings_outdated": "0x80 1x20"}, [{}]),
    "CognitoLookupAvailabilityBurnsFast": ({caller_requests("Failed"): "0+150x100"}, [{}]),
    "CognitoLookupAvailabilityBurns": ({caller_requests("Failed"): "0+30x100"}, [{}]),
    "CognitoLookupLatencyBurnsFast": ({duration_bucket("0.5"): "0+5400x100"}, [{}]),
    "CognitoLookupLatencyBurns": ({duration_bucket("0.5"): "0+6300x100"}, [{}]),
}
