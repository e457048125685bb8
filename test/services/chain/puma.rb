# A link of a chain for Puma, see node.mjs: one keep-alive connection a thread and service.
require 'net/http'
require 'uri'

NEXT = ENV.fetch('NEXT', '').split(',').map { |url| URI(url) }
THINK = ENV.fetch('THINK_MS', '0').to_f / 1000

def call(uri, path)
  pool = (Thread.current[:pool] ||= {})
  pool[uri.port] ||= Net::HTTP.new(uri.host, uri.port).tap { |connection| connection.start }
  pool[uri.port].get(path)
end

bind "tcp://127.0.0.1:#{ENV.fetch('PORT')}"
threads ENV.fetch('THREADS', '8').to_i, ENV.fetch('THREADS', '8').to_i
app do |env|
  sleep THINK if THINK > 0
  NEXT.each_with_index { |uri, index| call(uri, "#{env['PATH_INFO']}.#{index + 1}") }
  [200, { 'content-type' => 'text/plain', 'content-length' => '2' }, ['ok']]
end
