# A link of a chain for Puma, see node.mjs: one keep-alive connection a thread and service. MODE=late: it calls when it has answered.
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
  asked = env['PATH_INFO']
  calls = -> { NEXT.each_with_index { |uri, index| call(uri, "#{asked}.#{index + 1}") } }
  ENV['MODE'] == 'late' ? env['rack.after_reply'] << calls : calls.call
  [200, { 'content-type' => 'text/plain', 'content-length' => '2' }, ['ok']]
end
