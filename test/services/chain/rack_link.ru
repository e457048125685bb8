# A link of a chain, see node.mjs, for servers of Rack that block: Unicorn, Thin, Passenger.
require 'net/http'
targets = ENV.fetch('NEXT', '').split(',').map { |url| URI(url) }
kept = {}
run(lambda do |env|
  targets.each_with_index do |uri, index|
    (kept[[Process.pid, Thread.current, uri.port]] ||= Net::HTTP.start(uri.host, uri.port)).get("#{env['PATH_INFO']}.#{index + 1}")
  end
  [200, { 'content-type' => 'text/plain', 'content-length' => '2' }, ['ok']]
end)
