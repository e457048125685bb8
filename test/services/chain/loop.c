/*
 * A link of a chain, see node.mjs: in C, a loop on one thread, which first reads all that has come, then does what follows from it. MODE: `reverse`,
 * the latest first; `posts`, other threads (THREADS) prepare each step for a while and put it into the loop's queue, which need not be woken for that
 * while it is awake; then the first SPIN microseconds after it has read something it looks there, too, as one that has more to do;
 * `select`, it waits by select.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NEXT_MAX 8
#define READY_MAX 64
struct channel {
	int fd, is_call, index, at;
	char path[256], buffer[1024];
	size_t have;
	struct channel *asker; /* of a call */
	struct channel *next; /* of those that are idle */
};
static struct channel *idle[NEXT_MAX];
static int next_ports[NEXT_MAX], next_count, loop, bell;
static int is_reverse, posts, selects;
static struct channel *channels[FD_SETSIZE]; /* with `select`, by descriptor */
static atomic_int is_asleep;

static struct queue {
	pthread_mutex_t lock;
	struct channel *items[4096];
	unsigned head, tail;
} to_prepare = { .lock = PTHREAD_MUTEX_INITIALIZER }, prepared = { .lock = PTHREAD_MUTEX_INITIALIZER };
static sem_t jobs;

static void put(struct queue *queue, struct channel *item)
{
	pthread_mutex_lock(&queue->lock);
	queue->items[queue->tail++ % 4096] = item;
	pthread_mutex_unlock(&queue->lock);
}

static struct channel *get(struct queue *queue)
{
	struct channel *item = NULL;

	pthread_mutex_lock(&queue->lock);
	if (queue->head != queue->tail)
		item = queue->items[queue->head++ % 4096];
	pthread_mutex_unlock(&queue->lock);
	return item;
}

static void watch(struct channel *channel)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = channel };
	int one = 1;

	setsockopt(channel->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	channels[channel->fd] = channel;
	epoll_ctl(loop, EPOLL_CTL_ADD, channel->fd, &event);
}

static void say(int fd, const char *text)
{
	if (write(fd, text, strlen(text)) < 0)
		perror("write");
}

static void go_on(struct channel *client)
{
	struct channel *call;
	char text[512];
	int index = client->at;

	if (index == next_count) {
		say(client->fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
		return;
	}
	call = idle[index];
	if (call) {
		idle[index] = call->next;
	} else {
		struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(next_ports[index]) };

		to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		call = calloc(1, sizeof(*call));
		call->is_call = 1;
		call->index = index;
		call->fd = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(call->fd, (void *)&to, sizeof(to)))
			perror("connect");
		watch(call);
	}
	call->asker = client;
	snprintf(text, sizeof(text), "GET %s.%d HTTP/1.1\r\nHost: leaf\r\n\r\n", client->path, index + 1);
	say(call->fd, text);
}

/* Is there all of it? */
static int take(struct channel *channel)
{
	ssize_t got = read(channel->fd, channel->buffer + channel->have, sizeof(channel->buffer) - 1 - channel->have);
	char *end;

	if (got <= 0) {
		channels[channel->fd] = NULL;
		close(channel->fd);
		return 0;
	}
	channel->have += got;
	channel->buffer[channel->have] = 0;
	end = strstr(channel->buffer, "\r\n\r\n");
	if (!end || (channel->is_call && strlen(end + 4) < 2))
		return 0;
	channel->have = 0;
	if (!channel->is_call) {
		sscanf(channel->buffer, "GET %255s", channel->path);
		channel->at = 0;
	}
	return 1;
}

static void work(struct channel *channel)
{
	struct channel *client = channel;

	if (channel->is_call) {
		client = channel->asker;
		client->at++;
		channel->next = idle[channel->index];
		idle[channel->index] = channel;
	}
	if (!posts || client->at == next_count) {
		go_on(client);
		return;
	}
	put(&to_prepare, client);
	sem_post(&jobs);
}

static void *prepare(void *arg)
{
	unsigned seed = (unsigned)(size_t)arg;
	struct channel *client;
	uint64_t one = 1;

	for (;;) {
		while (sem_wait(&jobs))
			;
		client = get(&to_prepare);
		usleep(rand_r(&seed) % 3000);
		put(&prepared, client);
		if (atomic_load(&is_asleep) && write(bell, &one, sizeof(one)) < 0)
			perror("bell");
	}
	return NULL;
}

static long now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* What others have put into the queue; so long as it has more to do. */
static void run_prepared(long spin)
{
	long end = now_us() + spin;
	struct channel *client;

	do {
		while ((client = get(&prepared)))
			go_on(client);
	} while (now_us() < end);
}

static int select_for(struct epoll_event *events, int listener)
{
	int count = 0, most = listener;
	fd_set set;

	FD_ZERO(&set);
	FD_SET(listener, &set);
	for (int fd = 0; fd < FD_SETSIZE; fd++)
		if (channels[fd]) {
			FD_SET(fd, &set);
			most = fd > most ? fd : most;
		}
	if (select(most + 1, &set, NULL, NULL, NULL) < 0)
		return -1;
	for (int fd = 0; fd <= most && count < READY_MAX; fd++)
		if (FD_ISSET(fd, &set))
			events[count++].data.ptr = fd == listener ? NULL : channels[fd];
	return count;
}

/* Nothing is in the queue when it falls asleep; who puts something in then rings the bell. */
static int wait_for(struct epoll_event *events)
{
	int count, is_empty;

	atomic_store(&is_asleep, 1);
	pthread_mutex_lock(&prepared.lock);
	is_empty = prepared.head == prepared.tail;
	pthread_mutex_unlock(&prepared.lock);
	count = epoll_wait(loop, events, READY_MAX, is_empty ? -1 : 0);
	atomic_store(&is_asleep, 0);
	return count;
}

int main(void)
{
	char *next = strdup(getenv("NEXT") ? getenv("NEXT") : "");
	const char *mode = getenv("MODE") ? getenv("MODE") : "";
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, count;
	long spin = atoi(getenv("SPIN") ? getenv("SPIN") : "0");
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(atoi(getenv("PORT"))) };
	struct epoll_event events[READY_MAX], event = { .events = EPOLLIN };
	pthread_t thread;

	is_reverse = !strcmp(mode, "reverse");
	posts = !strcmp(mode, "posts");
	selects = !strcmp(mode, "select");
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (char *url = strtok(next, ","); url; url = strtok(NULL, ","))
		next_ports[next_count++] = atoi(strrchr(url, ':') + 1);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (void *)&at, sizeof(at)) || listen(listener, 128))
		return 1;
	loop = epoll_create1(0);
	epoll_ctl(loop, EPOLL_CTL_ADD, listener, &event);
	bell = eventfd(0, EFD_NONBLOCK);
	event.data.ptr = &bell;
	epoll_ctl(loop, EPOLL_CTL_ADD, bell, &event);
	sem_init(&jobs, 0, 0);
	for (int i = 0; posts && i < atoi(getenv("THREADS") ? getenv("THREADS") : "4"); i++)
		pthread_create(&thread, NULL, prepare, (void *)(size_t)i);
	while ((count = selects ? select_for(events, listener) : wait_for(events)) >= 0) {
		struct channel *ready[READY_MAX];
		int complete = 0, is_rung = 0;
		uint64_t rings;

		for (int i = 0; i < count; i++) {
			struct channel *channel = events[i].data.ptr;

			if (events[i].data.ptr == &bell) {
				is_rung = read(bell, &rings, sizeof(rings)) > 0;
				continue;
			}
			if (channel) {
				if (take(channel))
					ready[complete++] = channel;
				continue;
			}
			channel = calloc(1, sizeof(*channel));
			channel->fd = accept(listener, NULL, NULL);
			watch(channel);
		}
		for (int i = 0; i < complete; i++)
			work(ready[is_reverse ? complete - 1 - i : i]);
		if (posts)
			run_prepared(complete && !is_rung ? spin : 0);
	}
	return 0;
}
