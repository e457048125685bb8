<?php
// A link of a chain, see node.mjs, for PHP: the calls of a request at once, by curl_multi.
$next = array_filter(explode(',', getenv('NEXT') ?: ''));
$multi = curl_multi_init();
$calls = [];
foreach ($next as $index => $url) {
    $calls[] = $call = curl_init($url . strtok($_SERVER['REQUEST_URI'], '?') . '.' . ($index + 1));
    curl_setopt_array($call, [CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT => 20]);
    curl_multi_add_handle($multi, $call);
}
do {
    curl_multi_exec($multi, $active);
    if ($active) curl_multi_select($multi);
} while ($active);
foreach ($calls as $call) curl_multi_remove_handle($multi, $call);
header('Content-Type: text/plain');
echo 'ok';
