# A link of a chain: a proxy that keeps nothing.
vcl 4.1;
backend next {
  .host = "127.0.0.1";
  .port = "@NEXT@";
  @CHECK@
}
sub vcl_recv {
  return (pass);
}
