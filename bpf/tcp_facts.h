/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What tcp_sock knows of a connection, computed as tcp_get_info and
 * tcp_get_info_chrono_stats (net/ipv4/tcp.c) do.
 */
#ifndef UNDERSPAN_TCP_FACTS_H
#define UNDERSPAN_TCP_FACTS_H

/* enum tcp_chrono of include/linux/tcp.h; chrono_stat begins with BUSY. */
#define CHRONO_RWND_LIMITED 2
#define CHRONO_SNDBUF_LIMITED 3

static __always_inline __u32 ticks_to_ms(__u32 ticks)
{
	return ticks ? (__u64)ticks * tick_ns / 1000000 : 0; /* most often */
}

static __always_inline void read_tcp(struct event_tcp *tcp, struct sock *sk)
{
	__u32 send_next = KERNEL_READ(struct tcp_sock, sk, snd_nxt);
	__u32 rwnd = KERNEL_READ(struct tcp_sock, sk, chrono_stat[CHRONO_RWND_LIMITED - 1]);
	__u32 sndbuf = KERNEL_READ(struct tcp_sock, sk, chrono_stat[CHRONO_SNDBUF_LIMITED - 1]);
	__u32 running = KERNEL_READ_BITS(struct tcp_sock, sk, chrono_type);

	tcp->srtt_us = KERNEL_READ(struct tcp_sock, sk, srtt_us) >> 3;
	tcp->total_retrans = KERNEL_READ(struct tcp_sock, sk, total_retrans);
	tcp->unsent_bytes = KERNEL_READ(struct tcp_sock, sk, write_seq) - send_next;
	tcp->unacked_bytes = send_next - KERNEL_READ(struct tcp_sock, sk, snd_una);
	if (running >= CHRONO_RWND_LIMITED) {
		__u32 since = (__u32)bpf_jiffies64() -
			      KERNEL_READ(struct tcp_sock, sk, chrono_start);

		if (running == CHRONO_RWND_LIMITED)
			rwnd += since;
		else
			sndbuf += since;
	}
	tcp->rwnd_limited_ms = ticks_to_ms(rwnd);
	tcp->sndbuf_limited_ms = ticks_to_ms(sndbuf);
}

/* Position of the reader. The read that takes the last byte takes the FIN behind
 * it too (tcp_recvmsg_locked, found_fin_ok), which counts as one. */
static __always_inline __u32 read_position(struct sock *sk)
{
	__u32 copied_seq = KERNEL_READ(struct tcp_sock, sk, copied_seq);

	if (KERNEL_READ(struct sock, sk, __sk_common.skc_flags) & (1UL << SOCK_DONE) &&
	    copied_seq == KERNEL_READ(struct tcp_sock, sk, rcv_nxt))
		copied_seq--;
	return copied_seq;
}

/* Bytes between two positions that no call of `seen` bytes in all accounts for,
 * modulo 2^32. A call under way at the end may put `seen` ahead a little. */
static __always_inline __u32 unseen_bytes(__u32 from, __u32 to, __u64 seen)
{
	__u32 unseen = to - from - (__u32)seen;

	return unseen < 0xf0000000 ? unseen : 0;
}

/* Does what is read from it answer its own calls? Of a connection that is older than the
 * agent the socket tells: one that was accepted is a copy of its listener. Where that
 * is out of reach, the first call that was seen does. */
static __always_inline bool is_client(struct connection *c)
{
	if (c->role != ROLE_UNKNOWN)
		return c->role == ROLE_CLIENT;
	if (c->flags & (CONNECTION_UNIX | CONNECTION_TLS))
		return c->first_write_ns &&
		       (!c->first_read_ns || c->first_write_ns < c->first_read_ns);
	return !KERNEL_READ(struct sock, c->sk, sk_max_ack_backlog);
}

#endif
