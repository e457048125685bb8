"""Asks for each URL in turn over one handle of libcurl, which is GnuTLS's here, and prints the statuses.
Certificates are not checked."""

import sys

import pycurl

assert "GnuTLS" in pycurl.version, pycurl.version
handle = pycurl.Curl()
handle.setopt(pycurl.SSL_VERIFYPEER, 0)
handle.setopt(pycurl.SSL_VERIFYHOST, 0)
handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
handle.setopt(pycurl.WRITEFUNCTION, lambda data: None)
for url in sys.argv[1:]:
    handle.setopt(pycurl.URL, url)
    handle.perform()
    print(handle.getinfo(pycurl.RESPONSE_CODE))
