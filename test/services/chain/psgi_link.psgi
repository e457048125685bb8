# A link of a chain, see node.mjs, for Perl: a process that blocks (Starman), or, where the server streams (Twiggy), by AnyEvent::HTTP.
use strict;
use warnings;
use HTTP::Tiny;
my @next = split /,/, $ENV{NEXT} // '';
my $http = HTTP::Tiny->new(keep_alive => 1);
sub {
    my $env = shift;
    my $path = $env->{PATH_INFO};
    my $answer = [200, ['Content-Type' => 'text/plain', 'Content-Length' => 2], ['ok']];
    if (!$env->{'psgi.nonblocking'}) {
        $http->get("$next[$_]$path." . ($_ + 1)) for 0 .. $#next;
        return $answer;
    }
    require AnyEvent::HTTP;
    $AnyEvent::HTTP::MAX_PER_HOST = $ENV{SOCKETS} // 100;
    return sub {
        my $respond = shift;
        my $step;
        $step = sub {
            my $index = shift;
            if ($index > $#next) { undef $step; return $respond->($answer) }
            AnyEvent::HTTP::http_get("$next[$index]$path." . ($index + 1), persistent => 1, keepalive => 1, sub { $step->($index + 1) });
        };
        $step->(0);
    };
};
