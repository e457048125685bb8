// A link of a chain, see node.mjs: Boost.Asio on both sides. THREADS: so many run the same loop. SOCKETS: the pool's size, the oldest who waits
// for a connection gets the next one. MODE: `pool`, a pool of other threads prepares each call for a while and posts it to the loop;
// `notes`, those post something of their own now and then that calls nobody; `late`, the last call follows the response. TICK_MS: calls
// of no request, by a timer.
#include <boost/asio.hpp>
#include <cstdlib>
#include <deque>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <sstream>

namespace asio = boost::asio;
using tcp = asio::ip::tcp;
using error = boost::system::error_code;

static long number(const char *name, long otherwise)
{
	const char *text = getenv(name);
	return text && *text ? atol(text) : otherwise;
}
static const std::string mode = getenv("MODE") ? getenv("MODE") : "";
static const long limit = number("SOCKETS", 1000000);

struct Channel {
	tcp::socket socket;
	asio::streambuf buffer;
	explicit Channel(asio::io_context &loop) : socket(loop) {}
};
using ChannelPtr = std::shared_ptr<Channel>;

// Connections to one service, and who waits for one.
struct Pool {
	asio::io_context &loop;
	tcp::endpoint to;
	std::mutex lock;
	std::deque<ChannelPtr> idle;
	std::deque<std::function<void(ChannelPtr)>> waiting;
	long open = 0;
	Pool(asio::io_context &loop, tcp::endpoint to) : loop(loop), to(to) {}

	void take(std::function<void(ChannelPtr)> then)
	{
		ChannelPtr found;
		{
			std::lock_guard<std::mutex> guard(lock);
			if (!idle.empty()) {
				found = idle.back();
				idle.pop_back();
			} else if (open >= limit) {
				waiting.push_back(std::move(then));
				return;
			} else
				open++;
		}
		if (found)
			return then(found);
		auto fresh = std::make_shared<Channel>(loop);
		fresh->socket.async_connect(to, [fresh, then](error failed) {
			if (failed)
				return (void)(std::cerr << failed.message() << "\n");
			fresh->socket.set_option(tcp::no_delay(true));
			then(fresh);
		});
	}

	void give(ChannelPtr channel)
	{
		std::function<void(ChannelPtr)> next;
		{
			std::lock_guard<std::mutex> guard(lock);
			if (waiting.empty())
				idle.push_back(channel);
			else {
				next = std::move(waiting.front());
				waiting.pop_front();
			}
		}
		if (next)
			next(channel);
	}
};

static std::size_t content_length(const std::string &head)
{
	auto at = head.find("Content-Length: ");
	return at == std::string::npos ? 0 : std::stoul(head.substr(at + 16));
}

static std::string take_head(asio::streambuf &buffer, std::size_t size)
{
	std::string head(asio::buffers_begin(buffer.data()), asio::buffers_begin(buffer.data()) + size);
	buffer.consume(size);
	return head;
}

static void call(Pool &pool, std::string path, std::function<void()> done)
{
	pool.take([&pool, path, done](ChannelPtr channel) {
		auto text = std::make_shared<std::string>("GET " + path + " HTTP/1.1\r\nHost: leaf\r\n\r\n");
		asio::async_write(channel->socket, asio::buffer(*text), [&pool, channel, text, done](error failed, std::size_t) {
			if (failed)
				return (void)(std::cerr << failed.message() << "\n");
			asio::async_read_until(channel->socket, channel->buffer, "\r\n\r\n", [&pool, channel, done](error failed, std::size_t size) {
				if (failed)
					return (void)(std::cerr << failed.message() << "\n");
				auto length = content_length(take_head(channel->buffer, size));
				auto end = [&pool, channel, done, length] {
					channel->buffer.consume(length);
					pool.give(channel);
					done();
				};
				auto have = channel->buffer.size();
				if (have >= length)
					return end();
				asio::async_read(channel->socket, channel->buffer, asio::transfer_exactly(length - have), [end](error, std::size_t) { end(); });
			});
		});
	});
}

struct Session : std::enable_shared_from_this<Session> {
	asio::io_context &loop;
	asio::thread_pool &others;
	std::vector<std::unique_ptr<Pool>> &pools;
	Channel channel;
	std::string path, answer;
	std::size_t at = 0;

	Session(asio::io_context &loop, asio::thread_pool &others, std::vector<std::unique_ptr<Pool>> &pools)
		: loop(loop), others(others), pools(pools), channel(loop) {}

	void read()
	{
		auto self = shared_from_this();
		asio::async_read_until(channel.socket, channel.buffer, "\r\n\r\n", [self](error failed, std::size_t size) {
			if (failed)
				return;
			std::istringstream line(take_head(self->channel.buffer, size));
			std::string method;
			line >> method >> self->path;
			self->at = 0;
			self->next();
		});
	}

	void next()
	{
		auto self = shared_from_this();
		std::size_t last = mode == "late" ? pools.size() - 1 : pools.size();
		if (at >= last)
			return respond();
		std::size_t index = at++;
		auto go = [self, index] {
			call(*self->pools[index], self->path + "." + std::to_string(index + 1), [self] { self->next(); });
		};
		if (mode == "pool") {
			asio::post(others, [self, go, index] {
				usleep((std::hash<std::string>()(self->path) + index * 700) % 3000);
				asio::post(self->loop, go);
			});
			return;
		}
		if (mode == "notes")
			asio::post(others, [self] { asio::post(self->loop, [] {}); });
		go();
	}

	void respond()
	{
		auto self = shared_from_this();
		answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
		asio::async_write(channel.socket, asio::buffer(answer), [self](error failed, std::size_t) {
			if (failed)
				return;
			if (mode == "late")
				call(*self->pools.back(), self->path + "." + std::to_string(self->pools.size()), [] {});
			self->read();
		});
	}
};

static void accept(asio::io_context &loop, asio::thread_pool &others, tcp::acceptor &acceptor, std::vector<std::unique_ptr<Pool>> &pools)
{
	auto session = std::make_shared<Session>(loop, others, pools);
	acceptor.async_accept(session->channel.socket, [&, session](error failed) {
		if (!failed) {
			session->channel.socket.set_option(tcp::no_delay(true));
			session->read();
		}
		accept(loop, others, acceptor, pools);
	});
}

static void tick(asio::steady_timer &timer, Pool &pool, long ms)
{
	timer.expires_after(std::chrono::milliseconds(ms));
	timer.async_wait([&timer, &pool, ms](error) {
		call(pool, "/c/tick", [] {});
		tick(timer, pool, ms);
	});
}

int main()
{
	asio::io_context loop;
	asio::thread_pool others(4);
	std::vector<std::unique_ptr<Pool>> pools;
	std::istringstream next(getenv("NEXT") ? getenv("NEXT") : "");
	for (std::string url; std::getline(next, url, ',');) {
		auto port = std::stoi(url.substr(url.rfind(':') + 1));
		pools.push_back(std::make_unique<Pool>(loop, tcp::endpoint(asio::ip::make_address("127.0.0.1"), port)));
	}
	tcp::acceptor acceptor(loop, tcp::endpoint(asio::ip::make_address("127.0.0.1"), number("PORT", 8080)));
	accept(loop, others, acceptor, pools);
	asio::steady_timer timer(loop);
	if (number("TICK_MS", 0) > 0)
		tick(timer, *pools.front(), number("TICK_MS", 0));
	std::vector<std::thread> threads;
	for (long i = 1; i < number("THREADS", 1); i++)
		threads.emplace_back([&loop] { loop.run(); });
	loop.run();
}
