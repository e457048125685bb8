# A link of a chain, see node.mjs, for Ruby: SERVER=webrick, `async` (fibers, as in Falcon) or `em` (EventMachine); calls by Net::HTTP, async-http or
# em-http-request. MODE with webrick: `pool`, four threads make the calls of all requests; `late`, the last one follows the response. SOCKETS: of
# `async` and `em`, connections to each service.
NEXT = ENV.fetch('NEXT', '').split(',')
MODE = ENV.fetch('MODE', '')
PORT = ENV.fetch('PORT').to_i

def webrick
  require 'webrick'
  require 'net/http'
  jobs = Queue.new
  call = lambda do |url, path|
    uri = URI(url)
    connections = (Thread.current[:connections] ||= {})
    (connections[uri.port] ||= Net::HTTP.start(uri.host, uri.port)).get(path)
  end
  4.times { Thread.new { loop { (url, path, done) = jobs.pop; call.(url, path); done << true } } } if MODE == 'pool'
  server = WEBrick::HTTPServer.new(BindAddress: '127.0.0.1', Port: PORT, AccessLog: [], Logger: WEBrick::Log.new(File::NULL))
  server.mount_proc('/') do |request, response|
    calls = NEXT.each_with_index.map { |url, index| [url, "#{request.path}.#{index + 1}"] }
    last = MODE == 'late' ? calls.pop : nil
    calls.each do |url, path|
      next call.(url, path) unless MODE == 'pool'
      done = Queue.new
      jobs << [url, path, done]
      done.pop
    end
    response.body = 'ok'
    Thread.new { sleep 0.003; call.(*last) } if last
  end
  server.start
end

def fibers
  require 'async'
  require 'async/http/server'
  require 'async/http/client'
  require 'async/http/endpoint'
  Async do
    options = ENV['SOCKETS'] ? { connection_limit: ENV['SOCKETS'].to_i } : {}
    clients = NEXT.uniq.to_h { |url| [url, Async::HTTP::Client.new(Async::HTTP::Endpoint.parse(url), **options)] }
    server = Async::HTTP::Server.for(Async::HTTP::Endpoint.parse("http://127.0.0.1:#{PORT}")) do |request|
      calls = NEXT.each_with_index.map { |url, index| [url, "#{request.path}.#{index + 1}"] }
      if MODE == 'parallel'
        calls.map { |url, path| Async { clients[url].get(path).read } }.each(&:wait)
      else
        calls.each { |url, path| clients[url].get(path).read }
      end
      Protocol::HTTP::Response[200, { 'content-type' => 'text/plain' }, ['ok']]
    end
    server.run
  end
end

def event_machine
  require 'eventmachine'
  require 'em-http-request'
  EM.epoll if MODE != 'select'
  server = Module.new do
    def receive_data(data)
      @buffer = (@buffer || +'') << data
      return unless @buffer.include?("\r\n\r\n")
      path = @buffer[/\AGET (\S+)/, 1]
      @buffer = +''
      step(path, 0)
    end

    def step(path, index)
      return send_data("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") if index == NEXT.size
      idle = ($idle ||= Hash.new { |hash, key| hash[key] = [] })[NEXT[index]]
      connection = idle.pop || EM::HttpRequest.new(NEXT[index], inactivity_timeout: 0)
      http = connection.get(path: "#{path}.#{index + 1}", keepalive: true)
      http.callback { idle.push(connection); step(path, index + 1) }
      http.errback { warn http.error; step(path, index + 1) }
    end
  end
  EM.run { EM.start_server('127.0.0.1', PORT, server) }
end

{ 'webrick' => -> { webrick }, 'async' => -> { fibers }, 'em' => -> { event_machine } }.fetch(ENV.fetch('SERVER', 'webrick')).call
