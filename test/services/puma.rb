# Puma configuration with the application in it; Puma's own request log goes to standard output.
# PUMA_PORT, PUMA_THREADS and PUMA_WORKERS come from the environment.
# Paths: /bytes/SIZE/N, /chunked/SIZE/N, /status/CODE/N, /upload/N, /sleep/MS/N.
FILLER = 'x' * 65_536

def parts_of(size)
  Enumerator.new do |out|
    while size.positive?
      part = [size, FILLER.bytesize].min
      out << FILLER[0, part]
      size -= part
    end
  end
end

bind "tcp://127.0.0.1:#{ENV.fetch('PUMA_PORT')}"
workers Integer(ENV.fetch('PUMA_WORKERS', '0'))
threads Integer(ENV.fetch('PUMA_THREADS')), Integer(ENV.fetch('PUMA_THREADS'))
# One thread serves one connection: what is read is answered at once, so Puma's clock and the socket's agree.
queue_requests false
persistent_timeout 60
log_requests
environment 'production'

app do |env|
  _, kind, argument = env['PATH_INFO'].split('/')
  value = argument.to_i
  is_head = env['REQUEST_METHOD'] == 'HEAD'
  case kind
  when 'bytes'
    [200, { 'Content-Length' => value.to_s }, is_head ? [] : parts_of(value)]
  when 'chunked'
    [200, {}, parts_of(value)]
  when 'status'
    has_body = ![204, 304].include?(value)
    [value, has_body ? { 'Content-Length' => '4' } : {}, has_body && !is_head ? ["#{value}\n"] : []]
  when 'sleep'
    sleep(value / 1000.0)
    [200, { 'Content-Length' => '6' }, ["slept\n"]]
  when 'upload'
    received = 0
    while (part = env['rack.input'].read(65_536))
      received += part.bytesize
    end
    [200, { 'Content-Length' => received.to_s.bytesize.to_s }, is_head ? [] : [received.to_s]]
  else
    [404, { 'Content-Length' => '0' }, []]
  end
end
