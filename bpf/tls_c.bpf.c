/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * TLS libraries with an interface of C: OpenSSL 1.1 and 3 and what has its interface
 * (BoringSSL, LibreSSL), GnuTLS; shared, or linked into an executable. Which function
 * gets which program is said in src/discovery/tls-libraries.ts. Ciphertext that goes
 * into a buffer is looked at within these calls only, for programs that move it to
 * their socket themselves (Node.js, asyncio).
 */

static __always_inline void enter(struct pt_regs *ctx, __u32 kind, __u64 buffer,
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
int tls_handshake_enter(struct pt_regs *ctx)
{
	enter(ctx, TLS_CALL_HANDSHAKE, 0, 0);
	return 0;
}

SEC("uprobe")
int tls_read_enter(struct pt_regs *ctx)
{
	enter(ctx, TLS_CALL_READ, ARGUMENT2(ctx), 0);
	return 0;
}

SEC("uprobe")
int tls_read_sized_enter(struct pt_regs *ctx)
{
	enter(ctx, TLS_CALL_READ, ARGUMENT2(ctx), ARGUMENT4(ctx));
	return 0;
}

SEC("uprobe")
int tls_write_enter(struct pt_regs *ctx)
{
	enter(ctx, TLS_CALL_WRITE, ARGUMENT2(ctx), 0);
	return 0;
}

SEC("uprobe")
int tls_write_sized_enter(struct pt_regs *ctx)
{
	enter(ctx, TLS_CALL_WRITE, ARGUMENT2(ctx), ARGUMENT4(ctx));
	return 0;
}

/* SSL_sendfile(ssl, fd, offset, size, flags): by the kernel's own TLS, no content. */
SEC("uprobe")
int tls_sendfile_enter(struct pt_regs *ctx)
{
	enter(ctx, TLS_CALL_WRITE, 0, 0);
	return 0;
}

/* An int, or an ssize_t that is far from not fitting into one. */
SEC("uretprobe")
int tls_call_exit(struct pt_regs *ctx)
{
	tls_left((__s32)RESULT(ctx), STACK(ctx));
	return 0;
}

SEC("uprobe")
int tls_output_enter(struct pt_regs *ctx)
{
	tls_output(ARGUMENT2(ctx), (__u32)ARGUMENT3(ctx));
	return 0;
}

SEC("uprobe")
int tls_free_enter(struct pt_regs *ctx)
{
	tls_freed(ARGUMENT1(ctx));
	return 0;
}
