/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * One global per shared struct and enum, so that the compiler keeps them in BTF
 * for bpf/codegen/records.ts. Never loaded.
 */
#include <linux/types.h>
#include "event.h"

struct event_header a_event_header;
struct data_event a_data_event;
struct connection_opened_event a_connection_opened_event;
struct connection_state_event a_connection_state_event;
struct connection_closed_event a_connection_closed_event;
struct connect_failed_event a_connect_failed_event;
struct process_exec_event a_process_exec_event;
struct process_fork_event a_process_fork_event;
struct process_exit_event a_process_exit_event;
struct progress_event a_progress_event;
struct work_event a_work_event;
struct wake_event a_wake_event;
struct connection_lost_event a_connection_lost_event;
struct connection a_connection;
struct counters a_counters;
struct settings a_settings;
enum event_kind a_event_kind;
enum event_direction a_event_direction;
enum event_role a_event_role;
enum event_data_flag a_event_data_flag;
enum event_connection_flag a_event_connection_flag;
enum event_cause_flag a_event_cause_flag;
enum event_cause_loop_flag a_event_cause_loop_flag;
enum event_cause_sole_flag a_event_cause_sole_flag;
enum event_cause_start a_event_cause_start;
enum event_work a_event_work;
enum event_verdict a_event_verdict;
enum event_frames a_event_frames;
enum event_loss a_event_loss;
enum event_stat a_event_stat;
