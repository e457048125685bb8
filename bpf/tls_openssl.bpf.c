/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * OpenSSL 1.1 and 3, and what has its interface (BoringSSL, LibreSSL), shared or linked
 * into an executable. SSL_accept and SSL_connect end in SSL_do_handshake; SSL_peek
 * takes nothing. BIO_write is looked at within these calls only, for those who move the
 * ciphertext themselves (Node.js, asyncio).
 */

static __always_inline void openssl_enter(struct pt_regs *ctx, __u32 kind, __u64 buffer,
					  __u64 size_at)
{
	struct tls_args args = {
		.session = ARGUMENT1(ctx),
		.buffer = buffer,
		.size_at = size_at,
		.stack = STACK(ctx),
		.kind = kind,
	};

	tls_entered(&args);
}

SEC("uprobe")
int ssl_handshake_enter(struct pt_regs *ctx)
{
	openssl_enter(ctx, TLS_CALL_HANDSHAKE, 0, 0);
	return 0;
}

SEC("uprobe")
int ssl_read_enter(struct pt_regs *ctx)
{
	openssl_enter(ctx, TLS_CALL_READ, ARGUMENT2(ctx), 0);
	return 0;
}

SEC("uprobe")
int ssl_read_ex_enter(struct pt_regs *ctx)
{
	openssl_enter(ctx, TLS_CALL_READ, ARGUMENT2(ctx), ARGUMENT4(ctx));
	return 0;
}

SEC("uprobe")
int ssl_write_enter(struct pt_regs *ctx)
{
	openssl_enter(ctx, TLS_CALL_WRITE, ARGUMENT2(ctx), 0);
	return 0;
}

SEC("uprobe")
int ssl_write_ex_enter(struct pt_regs *ctx)
{
	openssl_enter(ctx, TLS_CALL_WRITE, ARGUMENT2(ctx), ARGUMENT4(ctx));
	return 0;
}

/* SSL_sendfile(ssl, fd, offset, size, flags): by the kernel's own TLS, no content. */
SEC("uprobe")
int ssl_sendfile_enter(struct pt_regs *ctx)
{
	openssl_enter(ctx, TLS_CALL_WRITE, 0, 0);
	return 0;
}

/* int, but for SSL_sendfile, whose bytes are far fewer than what an int holds. */
SEC("uretprobe")
int ssl_call_exit(struct pt_regs *ctx)
{
	tls_left((__s32)RESULT(ctx), STACK(ctx));
	return 0;
}

SEC("uprobe")
int bio_write_enter(struct pt_regs *ctx)
{
	tls_output(ARGUMENT2(ctx), (__u32)ARGUMENT3(ctx));
	return 0;
}

SEC("uprobe")
int ssl_free_enter(struct pt_regs *ctx)
{
	tls_freed(ARGUMENT1(ctx));
	return 0;
}
