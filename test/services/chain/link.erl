#!/usr/bin/env escript
%% A link of a chain, see node.mjs, for Erlang: a process for each connection, calls by httpc, whose processes share a pool of connections. SOCKETS: its size.
-module(link).
-export([main/1]).

main(_) ->
    {ok, _} = application:ensure_all_started(inets),
    Most = list_to_integer(os:getenv("SOCKETS", "100")),
    ok = httpc:set_options([{max_sessions, Most}, {max_keep_alive_length, 0}, {max_pipeline_length, 0}, {pipeline_timeout, 0}]),
    Next = string:tokens(os:getenv("NEXT", ""), ","),
    {ok, Listener} = gen_tcp:listen(list_to_integer(os:getenv("PORT")),
        [binary, {packet, http_bin}, {active, false}, {reuseaddr, true}, {ip, {127, 0, 0, 1}}, {nodelay, true}, {backlog, 128}]),
    accept(Listener, Next).

accept(Listener, Next) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Pid = spawn(fun() -> receive go -> serve(Socket, Next) end end),
    ok = gen_tcp:controlling_process(Socket, Pid),
    Pid ! go,
    accept(Listener, Next).

serve(Socket, Next) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, {http_request, _, {abs_path, Path}, _}} ->
            headers(Socket),
            lists:foldl(fun(Url, Index) ->
                Target = Url ++ binary_to_list(Path) ++ "." ++ integer_to_list(Index),
                {ok, _} = httpc:request(get, {Target, []}, [], []),
                Index + 1
            end, 1, Next),
            ok = gen_tcp:send(Socket, <<"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok">>),
            serve(Socket, Next);
        _ -> gen_tcp:close(Socket)
    end.

headers(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, http_eoh} -> ok;
        {ok, _} -> headers(Socket)
    end.
