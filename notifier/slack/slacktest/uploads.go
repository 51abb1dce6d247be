package slacktest

import (
	"bytes"
	"encoding/json"
	"image/png"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Uploads as Slack wants them: an address is asked for, the bytes go there, and only the third request shows the file
// to anybody.

const (
	maxUpload = 1 << 20 // what tocsin uploads is far smaller
	maxAltTxt = 1000
)

// File is what was uploaded into a message. It is a copy: change it freely.
type File struct {
	ID, Name, Title, Alt string
	Data                 []byte
}

// upload is a file on its way.
type upload struct {
	File
	length int
	got    bool // its bytes are there
	done   bool // it was shared
}

// prepareUpload needs s.mu.
func (s *Server) prepareUpload(args map[string]string) (map[string]any, error) {
	n, err := strconv.Atoi(args["length"])
	switch {
	case args["filename"] == "":
		return nil, refuse("invalid_arguments", "missing required field: filename")
	case err != nil || n <= 0:
		return nil, refuse("invalid_arguments", "length must be a number of bytes above 0")
	case n > maxUpload:
		return nil, refuse("file_upload_size_restricted")
	case utf8.RuneCountInString(args["alt_txt"]) > maxAltTxt:
		return nil, refuse("alt_txt_too_large")
	}
	id := s.newID("F")
	if s.uploads == nil {
		s.uploads = map[string]*upload{}
	}
	s.uploads[id] = &upload{File: File{ID: id, Name: args["filename"], Alt: args["alt_txt"]}, length: n}
	return map[string]any{"upload_url": s.opts.URL + "/upload/" + id, "file_id": id}, nil
}

// serveUpload takes a file's bytes: no token, the address is the secret.
func (s *Server) serveUpload(w http.ResponseWriter, r *http.Request, id string) {
	fault, struck := s.strike("upload", "", false)
	if struck && fault.Stage == Before {
		fault.before(w)
		return
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxUpload))
	s.mu.Lock()
	u := s.uploads[id]
	status := http.StatusOK
	switch {
	case u == nil || r.Header.Get("Authorization") != "":
		status = http.StatusNotFound
	case r.Method != http.MethodPost || err != nil || len(data) != u.length:
		status = http.StatusBadRequest
	default:
		u.Data, u.got = data, true
	}
	s.mu.Unlock()
	if struck && !fault.after(r) {
		return
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "OK - "+strconv.Itoa(len(data)))
}

// completeUpload needs s.mu.
func (s *Server) completeUpload(args map[string]string) (map[string]any, error) {
	var files []struct {
		ID    string `json:"id"`
		Title string `json:"title"`
	}
	if json.Unmarshal([]byte(args["files"]), &files) != nil || len(files) == 0 || len(files) > 10 {
		return nil, refuse("invalid_arguments", "files must be a list of 1 to 10 files")
	}
	c := s.channels[args["channel_id"]] // an ID: a name finds nothing
	switch {
	case c == nil:
		return nil, refuse("channel_not_found")
	case c.Archived:
		return nil, refuse("is_archived")
	case c.NotMember:
		return nil, refuse("not_in_channel")
	case args["thread_ts"] != "" && s.message(c.ID, args["thread_ts"]) == nil:
		return nil, refuse("thread_not_found")
	case args["initial_comment"] != "" && args["blocks"] != "":
		return nil, refuse("invalid_arguments", "initial_comment and blocks exclude each other")
	}
	m := &Message{Channel: c.ID, TS: s.newTS(), ThreadTS: args["thread_ts"], From: "bot", Version: Version{At: time.Now(), Text: args["initial_comment"]}}
	for _, f := range files {
		u := s.uploads[f.ID]
		switch {
		case u == nil || u.done:
			return nil, refuse("file_not_found")
		case !u.got:
			return nil, refuse("file_update_failed")
		case strings.HasSuffix(u.Name, ".png"):
			if _, err := png.DecodeConfig(bytes.NewReader(u.Data)); err != nil {
				return nil, refuse("invalid_arguments", "the file is no PNG: "+err.Error())
			}
		}
		u.done, u.Title = true, f.Title
		m.Files = append(m.Files, u.File)
	}
	s.messages = append(s.messages, m)
	s.changed()
	return map[string]any{"files": files}, nil
}
