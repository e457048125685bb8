/* An HTTPS server with OpenSSL as C programs use it, one thread a connection: tls-static PORT KEY CERTIFICATE. Built by the
 * tests with OpenSSL linked into it. Every request gets 200 and "hello"; its path and the port that it came from go to
 * standard output. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static SSL_CTX *context;

static void *serve(void *argument)
{
	static const char response[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
	int fd = (int)(long)argument, got;
	struct sockaddr_in peer;
	socklen_t length = sizeof(peer);
	char request[8192], path[256];
	SSL *ssl = SSL_new(context);

	getpeername(fd, (struct sockaddr *)&peer, &length);
	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) == 1) {
		while ((got = SSL_read(ssl, request, sizeof(request) - 1)) > 0) {
			request[got] = 0;
			if (sscanf(request, "%*s %255s", path) != 1)
				break;
			printf("{\"path\": \"%s\", \"client\": %d}\n", path, ntohs(peer.sin_port));
			fflush(stdout);
			if (SSL_write(ssl, response, sizeof(response) - 1) <= 0)
				break;
		}
		SSL_shutdown(ssl);
	}
	SSL_free(ssl);
	close(fd);
	return NULL;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	pthread_t thread;

	if (argc != 4)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	context = SSL_CTX_new(TLS_server_method());
	address.sin_port = htons(atoi(argv[1]));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (!context || SSL_CTX_use_PrivateKey_file(context, argv[2], SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_use_certificate_file(context, argv[3], SSL_FILETYPE_PEM) != 1 ||
	    bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 128))
		return 1;
	for (;;) {
		long fd = accept(listener, NULL, NULL);

		if (fd >= 0 && !pthread_create(&thread, NULL, serve, (void *)fd))
			pthread_detach(thread);
	}
}
