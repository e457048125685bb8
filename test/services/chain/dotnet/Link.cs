// A link of a chain, see ../node.mjs, of ASP.NET Core (Kestrel) and HttpClient. MODE: calls in turn, each awaited; `fan`: all at once;
// `block`: the thread that serves waits for each (`.Result`); `run`: by Task.Run; `queue`: four tasks that take calls out of a
// channel; `latest`: the same out of a stack;
// `leak`: the same, begun by the first request, in its trace; `batch`: one that waits for three requests, then calls for each; `late`: after the response; `own`: a timer
// calls, too. CONNECTIONS: of the client's pool.
// HEADER: HttpClient writes it, as it does by itself: `traceparent` since .NET 5, `Request-Id` before.
using System;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Linq;
using System.Net.Http;
using System.Threading;
using System.Threading.Channels;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

public static class Link
{
    private sealed class Job
    {
        public string Url;
        public readonly TaskCompletionSource<bool> Done =
            new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    private static readonly string[] Next = Variable("NEXT", "").Split(',', StringSplitOptions.RemoveEmptyEntries);
    private static readonly string Mode = Variable("MODE", "");
    private static readonly int ThinkMs = int.Parse(Variable("THINK_MS", "0"));
    private static readonly Channel<Job> Jobs = Channel.CreateUnbounded<Job>();
    private static readonly ConcurrentStack<Job> Stack = new ConcurrentStack<Job>();
    private static readonly SemaphoreSlim Stacked = new SemaphoreSlim(0);
    private static HttpClient client;
    private static int employed;

    private static string Variable(string name, string otherwise)
    {
        var value = Environment.GetEnvironmentVariable(name);
        return string.IsNullOrEmpty(value) ? otherwise : value;
    }

    private static async Task Call(string url)
    {
        using var response = await client.GetAsync(url);
        await response.Content.ReadAsStringAsync();
    }

    private static Task Give(string url)
    {
        var job = new Job { Url = url };
        if (Mode == "latest" || Mode == "leak")
        {
            Stack.Push(job);
            Stacked.Release();
        }
        else Jobs.Writer.TryWrite(job);
        return job.Done.Task;
    }

    private static async Task Do(Job job)
    {
        await Call(job.Url);
        job.Done.SetResult(true);
    }

    private static async Task Work()
    {
        while (true)
        {
            if (Mode == "latest" || Mode == "leak")
            {
                await Stacked.WaitAsync();
                if (Stack.TryPop(out var latest)) await Do(latest);
                continue;
            }
            var job = await Jobs.Reader.ReadAsync();
            if (Mode != "batch") await Do(job);
            else
            {
                // Those that have come within 5 ms, or two more.
                var jobs = new[] { job, await More(), await More() }.Where(one => one != null).ToList();
                foreach (var one in jobs) await Call(one.Url);
                foreach (var one in jobs) one.Done.SetResult(true);
            }
        }
    }

    private static async Task<Job> More()
    {
        for (var tries = 0; tries < 5; tries++)
        {
            if (Jobs.Reader.TryRead(out var job)) return job;
            await Task.Delay(1);
        }
        return null;
    }

    private static void Employ(int workers)
    {
        while (workers-- > 0) _ = Task.Run(Work);
    }

    private static async Task Serve(HttpContext context)
    {
        var urls = Next.Select((next, index) => $"{next}{context.Request.Path}.{index + 1}").ToArray();
        if (Mode == "leak" && Interlocked.Exchange(ref employed, 1) == 0) Employ(4);
        if (ThinkMs > 0) await Task.Delay(ThinkMs);
        switch (Mode)
        {
            case "fan":
                await Task.WhenAll(urls.Select(Call));
                break;
            case "block":
                foreach (var url in urls) Call(url).Wait();
                break;
            case "run":
                foreach (var url in urls) await Task.Run(() => Call(url));
                break;
            case "leak":
            case "queue":
            case "latest":
            case "batch":
                foreach (var url in urls) await Give(url);
                break;
            case "late":
                _ = Task.Run(async () =>
                {
                    await Task.Delay(3);
                    foreach (var url in urls) await Call(url);
                });
                break;
            default:
                foreach (var url in urls) await Call(url);
                break;
        }
        await context.Response.WriteAsync("ok");
    }

    private static async Task Tick()
    {
        while (true)
        {
            await Task.Delay(7);
            await Call($"{Next[0]}/c/tick");
        }
    }

    public static void Main()
    {
        var connections = int.Parse(Variable("CONNECTIONS", "1000"));
        if (Variable("HEADER", "") == "traceparent") Activity.DefaultIdFormat = ActivityIdFormat.W3C; // as since .NET 5
        client = Variable("HEADER", "") == ""
            ? new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = connections, UseProxy = false })
            : new HttpClient(new HttpClientHandler
            {
                MaxConnectionsPerServer = connections,
                UseProxy = false,
                ServerCertificateCustomValidationCallback = HttpClientHandler.DangerousAcceptAnyServerCertificateValidator
            });
        if (Mode != "leak") Employ(Mode == "batch" ? 1 : 4);
        if (Mode == "own") _ = Task.Run(Tick);
        Host.CreateDefaultBuilder()
            .ConfigureLogging(logging => logging.SetMinimumLevel(LogLevel.Warning))
            .ConfigureWebHost(web => web
                .UseKestrel()
                .UseUrls($"http://127.0.0.1:{Variable("PORT", "0")}")
                .Configure(application => application.Run(Serve)))
            .Build()
            .Run();
    }
}
