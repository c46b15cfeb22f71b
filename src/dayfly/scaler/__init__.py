"""How many instances there should be, and for how long: decisions as pure functions of (spec, observations, now).

    windows      calls in flight, averaged over the last seconds
    kpa          Knative's autoscaler: instances under load
    keepalive    the hybrid histogram: how long an idle function stays warm, when to come back before its next call
    plan         both together: start so many, retire so many
    policy       keep-alive policies to compare
    trace        reads the public Azure Functions traces
    simulator    replays a trace over policies; `python -m dayfly.scaler.simulator FOLDER`
    rehearsal    plays single calls against the whole: queue, starts, autoscaler, keep-alive, eviction

No clock and no event loop in any of them: the loop that applies decisions brings the time along, and so does a simulation.
"""
