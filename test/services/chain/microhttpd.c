/*
 * A link of a chain, see node.mjs: libmicrohttpd and libcurl. MODE: `connection`, a thread for each connection; `poll`, `epoll`, a pool of threads, each
 * with a loop, calls block it; `multi`, `epoll` where requests are suspended and one thread makes all calls by curl_multi; `each`, likewise, but a thread
 * for each request. THREADS: of the pool.
 */
#include <curl/curl.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NEXT_MAX 8
struct request {
	struct MHD_Connection *connection;
	char path[256];
	int at, is_done;
	struct request *next;
};
static char *next_urls[NEXT_MAX];
static int next_count;
static const char *mode;
static CURLM *multi;
static struct request *started;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static size_t ignore(void *data, size_t size, size_t count, void *to)
{
	(void)data, (void)to;
	return size * count;
}

static void aim(CURL *curl, struct request *request)
{
	char url[512];

	snprintf(url, sizeof(url), "%s%s.%d", next_urls[request->at], request->path, request->at + 1);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PRIVATE, request);
}

static void call_all(struct request *request)
{
	static __thread CURL *curl;

	if (!curl)
		curl = curl_easy_init();
	for (; request->at < next_count; request->at++) {
		aim(curl, request);
		if (curl_easy_perform(curl))
			fprintf(stderr, "call failed\n");
	}
}

static void *call_apart(void *arg)
{
	struct request *request = arg;

	pthread_detach(pthread_self());
	call_all(request);
	request->is_done = 1;
	MHD_resume_connection(request->connection);
	return NULL;
}

static void go_on(struct request *request)
{
	if (request->at < next_count) {
		CURL *curl = curl_easy_init();

		aim(curl, request);
		curl_multi_add_handle(multi, curl);
		return;
	}
	request->is_done = 1;
	MHD_resume_connection(request->connection);
}

static void *run_multi(void *arg)
{
	(void)arg;
	for (;;) {
		struct request *request;
		struct CURLMsg *message;
		int count;

		pthread_mutex_lock(&lock);
		request = started;
		started = NULL;
		pthread_mutex_unlock(&lock);
		for (struct request *next; request; request = next) {
			next = request->next;
			go_on(request);
		}
		curl_multi_perform(multi, &count);
		while ((message = curl_multi_info_read(multi, &count))) {
			CURL *curl = message->easy_handle;

			curl_easy_getinfo(curl, CURLINFO_PRIVATE, &request);
			curl_multi_remove_handle(multi, curl);
			curl_easy_cleanup(curl);
			request->at++;
			go_on(request);
		}
		curl_multi_poll(multi, NULL, 0, 1000, NULL);
	}
	return NULL;
}

static enum MHD_Result serve(void *cls, struct MHD_Connection *connection, const char *url, const char *method, const char *version, const char *data,
			     size_t *size, void **state)
{
	struct request *request = *state;
	struct MHD_Response *response;
	enum MHD_Result result;
	pthread_t thread;

	(void)cls, (void)method, (void)version, (void)data, (void)size;
	if (!request) {
		request = *state = calloc(1, sizeof(*request));
		request->connection = connection;
		snprintf(request->path, sizeof(request->path), "%s", url);
		return MHD_YES;
	}
	if (!request->is_done) {
		if (strcmp(mode, "multi") && strcmp(mode, "each")) {
			call_all(request);
		} else {
			MHD_suspend_connection(connection);
			if (!strcmp(mode, "each")) {
				pthread_create(&thread, NULL, call_apart, request);
				return MHD_YES;
			}
			pthread_mutex_lock(&lock);
			request->next = started;
			started = request;
			pthread_mutex_unlock(&lock);
			curl_multi_wakeup(multi);
			return MHD_YES;
		}
	}
	response = MHD_create_response_from_buffer(2, "ok", MHD_RESPMEM_PERSISTENT);
	result = MHD_queue_response(connection, MHD_HTTP_OK, response);
	MHD_destroy_response(response);
	free(request);
	*state = NULL;
	return result;
}

int main(void)
{
	char *next = strdup(getenv("NEXT") ? getenv("NEXT") : "");
	int threads = atoi(getenv("THREADS") ? getenv("THREADS") : "4");
	unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD;
	pthread_t thread;

	mode = getenv("MODE") ? getenv("MODE") : "connection";
	for (char *url = strtok(next, ","); url; url = strtok(NULL, ","))
		next_urls[next_count++] = url;
	curl_global_init(CURL_GLOBAL_ALL);
	if (!strcmp(mode, "connection"))
		flags |= MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL, threads = 0;
	else if (!strcmp(mode, "poll"))
		flags |= MHD_USE_POLL;
	else
		flags |= MHD_USE_EPOLL;
	if (!strcmp(mode, "multi") || !strcmp(mode, "each"))
		flags |= MHD_ALLOW_SUSPEND_RESUME;
	if (!strcmp(mode, "multi")) {
		multi = curl_multi_init();
		pthread_create(&thread, NULL, run_multi, NULL);
	}
	if (!MHD_start_daemon(flags, atoi(getenv("PORT")), NULL, NULL, serve, NULL, threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END,
			      threads, MHD_OPTION_END))
		return 1;
	pause();
	return 0;
}
