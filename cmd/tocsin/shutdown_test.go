package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestAHangingFarEndDoesNotHoldUpTheEnd stops tocsin while a page is under way that nobody answers.
func TestAHangingFarEndDoesNotHoldUpTheEnd(t *testing.T) {
	noLeaks(t)
	dir, _ := configured(t)
	paging := make(chan struct{}, 100)
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/page" {
			paging <- struct{}{}
			<-over
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"job":"shop"},"value":[%d,"0"]}]}}`, time.Now().Unix())
	}))
	t.Cleanup(func() { close(over); s.Close() })
	write(t, dir, "tocsin.yml", fmt.Sprintf(configuration, s.URL, s.URL))
	i := start(t, dir, nil)
	<-paging
	began := time.Now()
	i.end(t)
	if took := time.Since(began); took > shutdownTime {
		t.Errorf("it took %s", took)
	}
}
