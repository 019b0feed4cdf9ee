-- wrk: one fixed request (built once, no Lua on the way of a request), and the counts as JSON at the end.
local file = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
for line in io.lines(os.getenv("BENCH_HEADERS")) do
  local name, value = line:match("^([^:]+): (.*)$")
  if name then wrk.headers[name] = value end
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"ok":%d,"bad":%d,"broken":%d,"seconds":%.6f,"p50_ms":%.4f,"p99_ms":%.4f,"body_bytes":%d}\n',
    summary.requests - e.status, e.status + e.timeout, e.connect + e.read + e.write, summary.duration / 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, summary.bytes))
end
