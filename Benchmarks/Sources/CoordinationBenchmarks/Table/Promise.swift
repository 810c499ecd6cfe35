/// One of the 28 promises: what is measured, what was claimed when the project began (`seed`), what we aim at.
struct Promise: Sendable {
  var number: Int
  var name: String
  var definition: String
  var baseline: String
  var seed = ""
  var target: String

  /// In their order; the numbers are those of issue 7's table.
  static let all: [Promise] = [
    Promise(
      number: 1, name: "1–10 agents", definition: "E_coord at 10 agents, tasks of 200 ms and 2 s through an engine",
      baseline: "one agent in a loop", seed: "99 %", target: "99.4 % at 200 ms, 99.9 % at 2 s"),
    Promise(
      number: 2, name: "10–100 agents", definition: "E_coord at 100 agents", baseline: "one agent in a loop",
      seed: "95–97 %", target: "98 % at 200 ms, 99.5 % at 2 s"),
    Promise(
      number: 3, name: "100–1,000 agents", definition: "E_coord at 1,000 agents", baseline: "one agent in a loop",
      seed: "85–90 %", target: "95 % at 200 ms, 98.5 % at 2 s"),
    Promise(
      number: 4, name: "1,000+ agents", definition: "E_coord at 5,000 agents, in 5 cells", baseline: "one flat cell",
      seed: "70–80 %", target: "92 % at 500 ms, 96 % at 2 s"),
    Promise(
      number: 5, name: "orchestrator", definition: "tasks routed in a second, p99 of a decision, 100,000 queued",
      baseline: "first come, first served", target: "≥ 50,000/s, p99 < 1 ms"),
    Promise(
      number: 6, name: "agent pool manager", definition: "demand to running agent; drift after 100,000 agents",
      baseline: "a process for each agent", target: "p99 < 5 ms in a warm pod; resident memory < 1 % more"),
    Promise(
      number: 7, name: "resource manager", definition: "budget used and overshot against a fake API",
      baseline: "a fixed share for each pod", target: "97 % used, < 1 % over, < 0.5 % answered 429"),
    Promise(
      number: 8, name: "coordination layer", definition: "effects lost and doubled over 1,000,000 tasks with faults",
      baseline: "–", target: "0 lost, 0 committed twice"),
    Promise(
      number: 9, name: "batching", definition: "writes for a message; messages of the protocol for a task",
      baseline: "a write a message; a pull an agent", seed: "70–85 %", target: "≥ 95 % and ≥ 90 %; no delay at idle"),
    Promise(
      number: 10, name: "compression", definition: "bytes on the wire for each class of payload, CPU a message",
      baseline: "raw JSON", seed: "40–60 %", target: "≥ 60 % in each class, ≥ 70 % of the mix, ≥ 95 % of checkpoints"),
    Promise(
      number: 11, name: "concurrency", definition: "rate of N concurrent awaits on one connection",
      baseline: "one await after the other", seed: "3–5×", target: "≥ 10×"),
    Promise(
      number: 12, name: "priority", definition: "critical tasks' wait at 90, 110, 200 % load; bulk's share",
      baseline: "first come, first served", seed: "90 %",
      target: "p99 −97 % at 90 % load, −99.9 % beyond; bulk ≥ 4 % of slots"),
    Promise(
      number: 13, name: "pooled memory", definition: "time and allocations of an agent's step, peak memory",
      baseline: "fresh buffers and objects", seed: "40 %", target: "−50 % on the path of buffers"),
    Promise(
      number: 14, name: "parked state", definition: "resident bytes of a parked agent", baseline: "not compressed",
      target: "a third; back in < 0.2 ms"),
    Promise(
      number: 15, name: "distributed memory", definition: "checkpoint put and get at 1,000/s of 16 KB, three replicas",
      baseline: "SQLite row, one machine", target: "put p99 < 10 ms, get < 5 ms"),
    Promise(
      number: 16, name: "collection", definition: "from a task's end to nothing left in memory, keys, blobs",
      baseline: "none", target: "memory < 100 ms; stores < time to live + 5 s; 0 orphans after 100,000"),
    Promise(
      number: 17, name: "memory", definition: "resident at 0, 1,000, 5,000 agents, empty and with 64 KB of state",
      baseline: "a process for each agent", target: "≤ 8 KB an agent, ≤ 60 MB without any"),
    Promise(
      number: 18, name: "use of the API", definition: "used of the limit in each window under bursts",
      baseline: "a fixed share for each pod", seed: "85–95 %", target: "95–98 %, < 1 % over"),
    Promise(
      number: 19, name: "overhead", definition: "1 − E_coord; CPU time of the client for a task",
      baseline: "one agent in a loop", seed: "1–25 %", target: "≤ 1.5 % at 1,000 × 2 s; ≤ 40 µs a task"),
    Promise(
      number: 20, name: "latency", definition: "submitted → agent starts, idle agents, open loop; failover apart",
      baseline: "asked for every 100 ms", seed: "100 ms",
      target: "one replica p99 < 2 ms, three p99 < 10 ms; lame duck < 100 ms, kill -9 < 10 s"),
    Promise(
      number: 21, name: "5–100 replicas", definition: "the controller drives 5 to 100 simulated pods",
      baseline: "CPU alone (HPA)", seed: "5–100", target: "settles < 3 min, no task begins anew"),
    Promise(
      number: 22, name: "CPU and memory", definition: "admission by load, at saturation", baseline: "none",
      seed: "70–85 %", target: "80–85 % of the CPU with p99 as in 20"),
    Promise(
      number: 23, name: "custom metrics", definition: "backlog's age, budget use, busy slots exported; their cost",
      baseline: "queue's length", target: "a signal by age, < 0.1 % of a CPU"),
    Promise(
      number: 24, name: "breaker", definition: "calls that leak after the trip, time to recover",
      baseline: "retry for ever", seed: "5 failures, 60 s",
      target: "≤ 5 + those in flight; one probe; closed ≤ 61 s after repair"),
    Promise(
      number: 25, name: "degradation", definition: "work done: engine away 60 s, a lane broken, the API at 10 %",
      baseline: "stop", target: "steps under way end, results kept, 0 lost, critical keeps its promise"),
    Promise(
      number: 26, name: "healing", definition: "to full throughput after 20 % of pods, or the leader, are killed",
      baseline: "by hand", target: "≤ a lease + 5 s; ≤ 10 s"),
    Promise(
      number: 27, name: "rollback", definition: "killed anywhere, newest checkpoint damaged", baseline: "from zero",
      target: "≤ 1 step and ≤ 1 call again for an agent; each damage found"),
    Promise(
      number: 28, name: "cost", definition: "useful tasks a dollar with pods, engine, tokens; USL's σ and κ",
      baseline: "one agent", seed: "a table", target: "within 10 % of what was measured"),
  ]
}
