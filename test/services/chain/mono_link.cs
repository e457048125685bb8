// A link of a chain, see node.mjs, for Mono: HttpListener, HttpClient (MODE=async, with await; `parallel`, at once) or HttpWebRequest (MODE=block),
// all on threads of the pool. SOCKETS: connections to each service.
using System;
using System.Linq;
using System.Net;
using System.Net.Http;
using System.Threading;
using System.Threading.Tasks;

static class Link
{
    static readonly string[] Next = (Environment.GetEnvironmentVariable("NEXT") ?? "").Split(new[] { ',' }, StringSplitOptions.RemoveEmptyEntries);
    static readonly string Mode = Environment.GetEnvironmentVariable("MODE") ?? "async";
    static readonly HttpClient Client = new HttpClient();

    static async Task Serve(HttpListenerContext context)
    {
        var path = context.Request.Url.AbsolutePath;
        if (Mode == "parallel")
            await Task.WhenAll(Next.Select((url, index) => Client.GetStringAsync(url + path + "." + (index + 1))));
        else
            for (var index = 0; index < Next.Length; index++)
            {
                var url = Next[index] + path + "." + (index + 1);
                if (Mode == "block") new WebClient().DownloadString(url);
                else await Client.GetStringAsync(url);
            }
        var bytes = new byte[] { (byte)'o', (byte)'k' };
        context.Response.ContentLength64 = 2;
        context.Response.OutputStream.Write(bytes, 0, 2);
        context.Response.Close();
    }

    static void Main()
    {
        ServicePointManager.DefaultConnectionLimit = int.Parse(Environment.GetEnvironmentVariable("SOCKETS") ?? "100");
        ThreadPool.SetMinThreads(Mode == "block" ? 64 : 4, 4);
        var listener = new HttpListener();
        listener.Prefixes.Add("http://127.0.0.1:" + Environment.GetEnvironmentVariable("PORT") + "/");
        listener.Start();
        for (;;)
        {
            var context = listener.GetContext();
            Task.Run(() => Serve(context));
        }
    }
}
