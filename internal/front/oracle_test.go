package front_test

import (
	"strings"
	"testing"
)

// streams are what clients, and those who are none, may send.
var streams = map[string]string{
	"nothing":            "",
	"post":               post(`{"query":"{a}"}`, "Content-Type: application/json", "Accept: */*"),
	"get":                request("GET", path+"?query=%7Ba%7D&x=%zz", ""),
	"get bare":           request("GET", path, ""),
	"get with body":      request("GET", path, "abc", "Content-Length: 3"),
	"get empty query":    request("GET", path+"?", ""),
	"head":               request("HEAD", path, ""),
	"other path":         request("POST", "/graphql/", "abc", "Content-Length: 3"),
	"escaped path":       request("POST", "/graph%71l", "abc", "Content-Length: 3"),
	"two slashes":        request("POST", "//graphql", "abc", "Content-Length: 3"),
	"absolute":           request("POST", "http://api.example/graphql", "abc", "Content-Length: 3"),
	"fragment":           request("POST", "/graphql#x", "abc", "Content-Length: 3"),
	"bad target":         request("POST", "/graphql?a b", "abc", "Content-Length: 3"),
	"non-ASCII target":   request("POST", "/graphql?ä", "abc", "Content-Length: 3"),
	"no body":            request("POST", path, "", "Content-Length: 0"),
	"no length":          request("POST", path, ""),
	"two at once":        post("a") + post("b"),
	"three, mixed":       post("a") + request("GET", "/livez", "") + post("c"),
	"body like request":  post(post("inner")) + post("b"),
	"large then small":   post(strings.Repeat(post("inner"), 100)) + post("b"),
	"lower-case names":   request("POST", path, "abc", "content-length: 3", "x-a:1", "x-A:  2 \t", "X-Empty:"),
	"odd names":          request("POST", path, "abc", "Content-Length: 3", "x_y~z: 1", "123: 4"),
	"repeated":           request("POST", path, "abc", "X-A: 1", "Content-Length: 3", "X-A: 2", "X-B: 3"),
	"folded":             request("POST", path, "abc", "X-A: 1\r\n 2", "Content-Length: 3"),
	"space in name":      request("POST", path, "abc", "X-A : 1", "Content-Length: 3"),
	"space before name":  request("POST", path, "abc", " X-A: 1", "Content-Length: 3"),
	"no colon":           request("POST", path, "abc", "X-A", "Content-Length: 3"),
	"no name":            request("POST", path, "abc", ": 1", "Content-Length: 3"),
	"control in value":   request("POST", path, "abc", "X-A: \x01", "Content-Length: 3"),
	"return in value":    request("POST", path, "abc", "X-A: a\rb", "Content-Length: 3"),
	"null in value":      request("POST", path, "abc", "X-A: a\x00b", "Content-Length: 3"),
	"high bytes":         request("POST", path, "abc", "X-A: \xff\xe4", "Content-Length: 3"),
	"bare line feeds":    "POST /graphql HTTP/1.1\nHost: a\nContent-Length: 1\n\nx",
	"mixed line ends":    "POST /graphql HTTP/1.1\r\nHost: a\nContent-Length: 1\r\n\r\nx",
	"two lengths":        request("POST", path, "abc", "Content-Length: 3", "Content-Length: 3"),
	"two others":         request("POST", path, "abc", "Content-Length: 3", "Content-Length: 2"),
	"list of lengths":    request("POST", path, "abc", "Content-Length: 3, 3"),
	"signed length":      request("POST", path, "abc", "Content-Length: +3"),
	"negative length":    request("POST", path, "abc", "Content-Length: -3"),
	"zeros":              request("POST", path, "abc", "Content-Length: 0003"),
	"huge length":        request("POST", path, "abc", "Content-Length: 99999999999999999999"),
	"hex length":         request("POST", path, "abc", "Content-Length: 0x3"),
	"empty length":       request("POST", path, "abc", "Content-Length: "),
	"chunked":            request("POST", path, "3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked") + post("b"),
	"chunked and length": request("POST", path, "3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked", "Content-Length: 3") + post("b"),
	"other encoding":     request("POST", path, "abc", "Transfer-Encoding: identity", "Content-Length: 3"),
	"no host":            "POST /graphql HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
	"two hosts":          request("POST", path, "abc", "Host: b", "Content-Length: 3"),
	"bad host":           "POST /graphql HTTP/1.1\r\nHost: a b\r\nContent-Length: 1\r\n\r\nx",
	"empty host":         "POST /graphql HTTP/1.1\r\nHost:\r\nContent-Length: 1\r\n\r\nx",
	"port and brackets":  "POST /graphql HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 1\r\n\r\nx",
	"close":              post("a", "Connection: close") + post("b"),
	"keep alive":         post("a", "Connection: Keep-Alive") + post("b"),
	"upgrade":            post("a", "Connection: Upgrade", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA") + post("b"),
	"te":                 post("a", "Te: trailers") + post("b"),
	"expect":             post("a", "Expect: 100-continue") + post("b"),
	"expects else":       post("a", "Expect: money") + post("b"),
	"pragma":             post("a", "Pragma: no-cache") + post("b"),
	"1.0":                "POST /graphql HTTP/1.0\r\nHost: a\r\nContent-Length: 1\r\n\r\nx" + post("b"),
	"1.0 kept":           "POST /graphql HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx" + post("b"),
	"2.0":                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"0.9":                "GET /graphql\r\n\r\n",
	"1.2":                "POST /graphql HTTP/1.2\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
	"spaces in line":     "POST  /graphql HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
	"space at line end":  "POST /graphql HTTP/1.1 \r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
	"empty lines first":  "\r\n\r\n" + post("a"),
	"bits at the end":    post("a") + "00",
	"lines between":      post("a") + "\r\n" + post("b"),
	"TLS":                "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	"garbage":            "hello\r\n\r\n",
	"options":            request("OPTIONS", path, "") + request("OPTIONS", "*", "") + post("b"),
	"connect":            request("CONNECT", "a:80", "") + post("b"),
	"odd method":         request("P@ST", path, "") + post("b"),
	"half a line":        "POST /gra",
	"half a header":      "POST /graphql HTTP/1.1\r\nHost: a\r\nConte",
	"half a body":        "POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
	"long header":        post("a", "X-Long: "+strings.Repeat("x", 5000)) + post("b"),
	"too long header":    post("a", "X-Long: "+strings.Repeat("x", 100_000)) + post("b"),
	"just fits":          post(strings.Repeat("x", 4096-len(post(strings.Repeat("x", 3500)))+3500)) + post("b"),
	"one too long":       post(strings.Repeat("x", 4096-len(post(strings.Repeat("x", 3500)))+3501)) + post("b"),
	"answer: no length":  post("a", "X-How: no length") + post("b"),
	"answer: nothing":    post("a", "X-How: nothing") + post("b"),
	"answer: 204":        post("a", "X-How: 204") + post("b"),
	"answer: 304":        request("GET", path, "", "X-How: 304") + post("b"),
	"answer: close":      post("a", "X-How: close") + post("b"),
	"answer: short":      post("a", "X-How: short") + post("b"),
	"answer: long":       post("a", "X-How: long") + post("b"),
	"answer: large":      post("a", "X-How: large") + post("b"),
	"answer: injected":   post("a", "X-How: injected") + post("b"),
	"answer: abort":      post("a", "X-How: abort") + post("b"),
	"answer: panic":      post("a", "X-How: panic") + post("b"),
}

// TestFront_LikeNetHTTP holds net/http alone against a Front, however the bytes arrive.
func TestFront_LikeNetHTTP(t *testing.T) {
	t.Parallel()
	fronted, alone := serve(t, serverOf(tell)), serveAlone(t, serverOf(tell))
	for name, stream := range streams {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := same(ask(t, alone.addr, stream))
			step := max(1, len(stream)/16)
			for cut := 0; cut <= len(stream); cut += step {
				if got := same(ask(t, fronted.addr, stream[:cut], stream[cut:])); got != want {
					t.Fatalf("cut at %d: got %s, want %s", cut, got, want)
				}
			}
		})
	}
}

func FuzzFront_LikeNetHTTP(f *testing.F) {
	for _, stream := range streams {
		f.Add(stream, uint16(len(stream)/2))
	}
	fronted, alone := serve(f, serverOf(tell)), serveAlone(f, serverOf(tell))
	f.Fuzz(func(t *testing.T, stream string, cut uint16) {
		if len(stream) > 64<<10 {
			return
		}
		at := min(int(cut), len(stream))
		want := same(ask(t, alone.addr, stream))
		if got := same(ask(t, fronted.addr, stream[:at], stream[at:])); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}
