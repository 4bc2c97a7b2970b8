-- For wrk: posts one body, and prints what came of it as one line of JSON.
-- Arguments: the file of the body, then headers as NAME=VALUE.

-- What is set here makes one request, whose bytes are the same every time.
function init(args)
   local file = assert(io.open(args[1], "rb"))
   wrk.method = "POST"
   wrk.body = file:read("*a")
   file:close()
   wrk.headers["Content-Type"] = "application/json"
   for place = 2, #args do
      local name, value = args[place]:match("^([^=]+)=(.*)$")
      wrk.headers[name] = value
   end
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"requests":%d,"seconds":%.6f,"connect":%d,"read":%d,"write":%d,"status":%d,' ..
      '"timeout":%d,"p50_ms":%.4f,"p99_ms":%.4f,"max_ms":%.4f}\n',
      summary.requests, summary.duration / 1e6, errors.connect, errors.read, errors.write,
      errors.status, errors.timeout, latency:percentile(50) / 1e3,
      latency:percentile(99) / 1e3, latency.max / 1e3))
end
