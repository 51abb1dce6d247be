//go:build ignore

// This program asks a fresh Alertmanager the requests of requests.json, and prints what it answers: answers.json,
// which TestAnswersAsAlertmanager holds against ours. To repeat it, with Alertmanager 0.34.2:
//
//	alertmanager --config.file=alertmanager.yml --cluster.listen-address= --web.listen-address=127.0.0.1:9093 &
//	go run record.go http://127.0.0.1:9093 < requests.json > answers.json
package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"
)

type request struct {
	Method, Path, Body string
	Header             map[string]string `json:",omitempty"`
	// Keep names what later requests may write as ${name}: the silenceID of the answer.
	Keep string `json:",omitempty"`
}

type answer struct {
	Request     request
	Status      int
	ContentType string `json:",omitempty"`
	Body        string
}

// moving is what differs from run to run.
var moving = regexp.MustCompile(`("updatedAt":")[^"]*"`)

func main() {
	var requests []request
	if err := json.NewDecoder(os.Stdin).Decode(&requests); err != nil {
		log.Fatal(err)
	}
	kept := []string{}
	var answers []answer
	for _, r := range requests {
		put := strings.NewReplacer(kept...)
		req, err := http.NewRequest(r.Method, os.Args[1]+put.Replace(r.Path), strings.NewReader(put.Replace(r.Body)))
		if err != nil {
			log.Fatal(err)
		}
		if r.Body == "" {
			req.Body, req.ContentLength = nil, 0
		}
		for k, v := range r.Header {
			req.Header.Set(k, v)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			log.Fatal(r, err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			log.Fatal(err)
		}
		var id struct{ SilenceID string }
		if json.Unmarshal(body, &id) == nil && r.Keep != "" {
			kept = append(kept, "${"+r.Keep+"}", id.SilenceID)
		}
		text := moving.ReplaceAllString(string(body), `${1}now"`)
		for i := 0; i < len(kept); i += 2 {
			text = strings.ReplaceAll(text, kept[i+1], kept[i])
		}
		answers = append(answers, answer{r, resp.StatusCode, resp.Header.Get("Content-Type"), text})
		time.Sleep(20 * time.Millisecond) // the inhibitor learns of alerts a little later
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(answers); err != nil {
		log.Fatal(err)
	}
}
