<?php
// A link of a chain for PHP-FPM, see node.mjs: by curl, or by PHP's own streams (MODE=streams), a connection for each call, or all
// calls at once by curl_multi (MODE=multi; as Guzzle's pools).
$next = array_filter(explode(',', getenv('NEXT') ?: ''));
usleep(1000 * (int) getenv('THINK_MS'));
$multi = getenv('MODE') === 'multi' ? curl_multi_init() : null;
foreach ($next as $index => $url) {
    $target = $url . strtok($_SERVER['REQUEST_URI'], '?') . '.' . ($index + 1);
    if (getenv('MODE') === 'streams') {
        file_get_contents($target);
        continue;
    }
    $call = curl_init($target);
    curl_setopt_array($call, [CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT => 20]);
    if ($multi) {
        curl_multi_add_handle($multi, $call);
        continue;
    }
    curl_exec($call);
    curl_close($call);
}
if ($multi)
    do {
        curl_multi_exec($multi, $active);
        if ($active) curl_multi_select($multi);
    } while ($active);
if (isset($_GET['die'])) posix_kill(getmypid(), 9);
if (isset($_GET['status'])) http_response_code((int) $_GET['status']);
header('Content-Type: text/plain');
// More than what is captured of a response, if it is wanted so.
echo str_pad('ok', (int) (getenv('SIZE') ?: 2), '.');
