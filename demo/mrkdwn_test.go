package demo

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

func TestMrkdwn(t *testing.T) {
	began := time.Unix(1_800_000_000, 0)
	m := mrkdwn{clock: clock{began: began, speed: 40}, users: map[string]string{"U02ANA": "ana"}}
	for _, tc := range []struct{ name, in, want string }{
		{"plain", "all is well", "all is well"},
		{"emphasis", "*bold* _it_ ~no~ `code`", "<strong>bold</strong> <em>it</em> <s>no</s> <code>code</code>"},
		{"not emphasis", "session_memory_bytes 2*3*4", "session_memory_bytes 2*3*4"},
		{"escaped", "a &lt;b&gt; &amp;amp; c", "a &lt;b&gt; &amp;amp; c"},
		{"raw markup", `<script>alert(1)</script>`, "&lt;script&gt;alert(1)&lt;/script&gt;"},
		{"link", "<https://x.example/a?b=1&amp;c=2|the *graph*>", `<a href="https://x.example/a?b=1&amp;c=2" target="_blank" rel="noopener noreferrer">the *graph*</a>`},
		{"bad link", "<javascript:alert(1)|x>", "&lt;javascript:alert(1)|x&gt;"},
		{"mention", "<@U02ANA> in <#C1|alerts>", `<span class="mention">@ana</span> in <span class="mention">#alerts</span>`},
		{"date", "since <!date^1800000030^{time}|12:00 UTC>", "since <time>13:00</time>"},
		{"date in bold", "*at <!date^1800000030^{time}|x>*", "<strong>at <time>13:00</time></strong>"},
		{"code keeps markup", "`*a* <b>`", "<code>*a* &lt;b&gt;</code>"},
		{"emoji", ":warning: :unknown_one:", "⚠️ :unknown_one:"},
		{"lines", "a\nb", "a<br>b"},
		{"block", "```x\ny```", "<pre>x\ny</pre>"},
	} {
		if got := string(m.html(tc.in)); got != tc.want {
			t.Errorf("%s: %s\nwant %s", tc.name, got, tc.want)
		}
	}
}

// FuzzMrkdwn holds the one thing that matters: no text makes an element that is not one of ours.
func FuzzMrkdwn(f *testing.F) {
	for _, s := range []string{"*a* <@U1> `x`", "<http://a|<b>>", "```<img src=x>```", "\x000\x00 <@x>", "<!date^1^<b>|x>", `<http://x" onclick="y|z>`} {
		f.Add(s)
	}
	allowed := map[string]bool{"strong": true, "em": true, "s": true, "code": true, "pre": true, "a": true, "br": true, "span": true, "time": true}
	f.Fuzz(func(t *testing.T, s string) {
		z := html.NewTokenizer(strings.NewReader(string(mrkdwn{}.html(s))))
		for {
			switch z.Next() {
			case html.ErrorToken:
				return
			case html.StartTagToken, html.SelfClosingTagToken:
				tok := z.Token()
				if !allowed[tok.Data] {
					t.Fatalf("%q makes <%s>", s, tok.Data)
				}
				for _, a := range tok.Attr {
					if strings.HasPrefix(a.Key, "on") || a.Key == "style" || (a.Key == "href" && !linkable(a.Val)) {
						t.Fatalf("%q makes %s=%q", s, a.Key, a.Val)
					}
				}
			case html.CommentToken, html.DoctypeToken:
				t.Fatalf("%q makes a comment", s)
			}
		}
	})
}
