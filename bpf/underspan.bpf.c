/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The one object that the agent loads: vocabulary first, then the core, then the
 * probe families. Each program can be left out at load (src/kernel/probes.ts).
 */
#include "kernel_types.h"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#define __VMLINUX_H__ /* pt_regs has the kernel's names: see kernel_types.h */
#include <bpf/bpf_tracing.h>
#include "event.h"
#include "kernel_read.h"
#include "maps.h"
#include "control_record.h"
#include "tcp_facts.h"
#include "target.h"
#include "routine.h"
#include "unit.h"
#include "python.h"
#include "tokio.h"
#include "node.h"
#include "cause.h"
#include "connection.h"
#include "capture.h"
#include "session.h"
#include "frames.h"
#include "socket.h"
#include "goroutine.h"
#include "virtual_thread.h"
#include "socket_call.h"
#include "uvloop.h"
#include "python_queue.h"
#include "python_await.h"
#include "python_job.h"
#include "java.h"
#include "iov_iter.h"
#include "socket_layer.h"
#include "socket_fentry.bpf.c"
#include "socket_kprobe.bpf.c"
#include "socket_syscall.bpf.c"
#include "tcp.bpf.c"
#include "process.bpf.c"
#include "tls.h"
#include "tls_c.bpf.c"
#include "tls_go.bpf.c"
#include "tls_rust.bpf.c"
#include "goroutine.bpf.c"
#include "go_channel.h"
#include "go_channel.bpf.c"
#include "loop.bpf.c"
#include "nginx.bpf.c"
#include "python_queue.bpf.c"
#include "python.bpf.c"
#include "uvloop.bpf.c"
#include "greenlet.bpf.c"
#include "java.bpf.c"
#include "tokio.bpf.c"

/* The probe-read helpers are for GPL-compatible programs only. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";
