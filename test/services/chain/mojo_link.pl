# A link of a chain, see node.mjs, for Perl's Mojolicious: its server and client share a loop, by EV or (MOJO_REACTOR) poll. SOCKETS: connections
# that are kept. MODE: `queue`, LIMIT calls at a time over all requests; `late`, the last call follows the response. TICK_MS: calls of no request.
use Mojolicious::Lite -signatures;
use Mojo::IOLoop;
use Mojo::UserAgent;
my @next = split /,/, $ENV{NEXT} // '';
my $mode = $ENV{MODE} // '';
my $agent = Mojo::UserAgent->new(max_connections => $ENV{SOCKETS} // 100);
my ($running, @waiting) = (0);
app->log->level('error');

sub start ($url, $done) {
    $agent->get($url => sub ($, $tx) {
        print STDERR "$url: " . $tx->error->{message} . "\n" if $tx->error;
        $running--;
        my $first = shift @waiting;
        $running++, $first->() if $first;
        $done->();
    });
}

sub call ($url, $done) {
    if ($mode eq 'queue' && $running >= ($ENV{LIMIT} // 2)) { push @waiting, sub { start($url, $done) }; return }
    $running++;
    start($url, $done);
}

sub in_turn ($c, $path, $index) {
    my $last = $mode eq 'late' ? $#next : @next;
    if ($index >= $last) {
        $c->render(text => 'ok');
        Mojo::IOLoop->timer(0.003 => sub { call("$next[$#next]$path." . @next, sub { }) }) if $mode eq 'late';
        return;
    }
    call("$next[$index]$path." . ($index + 1), sub { in_turn($c, $path, $index + 1) });
}

get '/*all' => sub ($c) { $c->render_later; in_turn($c, $c->req->url->path->to_string, 0) };
Mojo::IOLoop->recurring($ENV{TICK_MS} / 1000 => sub { call("$next[0]/c/tick", sub { }) }) if $ENV{TICK_MS};
app->start('daemon', '-l', "http://127.0.0.1:$ENV{PORT}", '-k', 60);
