package web

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tocsin/oncall"
)

// silenceAction names the fields of a silence's request; what it does is no command to the incident.
var silenceAction = action{kind: "silence", fields: []string{"duration", "until", "comment"}}

// silenceIncident silences an incident's alerts. It is an act like the others to those who call it.
func (w *Web) silenceIncident(rw http.ResponseWriter, r *http.Request) {
	number, err := parseNumber(r.PathValue("number"))
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	wish, err := w.readSilence(rw, r)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	request, err := requestID(r, fmt.Sprintf("silence #%d", number), wish.Actor)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	done, err := w.o.Acts.Silence(r.Context(), number, wish, request)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	in, err := w.o.Acts.Incident(r.Context(), number)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	w.writeJSON(rw, http.StatusOK, acted{IncidentView: w.view(in), Reply: done.Reply, Silence: done.Silence.ID})
}

func (w *Web) readSilence(rw http.ResponseWriter, r *http.Request) (oncall.SilenceWish, error) {
	wish := oncall.SilenceWish{Via: "api"}
	b, err := readBody(http.MaxBytesReader(rw, r.Body, maxBody), silenceAction)
	if err != nil {
		return wish, err
	}
	text := map[string]string{}
	for _, field := range append([]string{"user"}, silenceAction.fields...) {
		if text[field], err = b.text(field); err != nil {
			return wish, err
		}
	}
	if wish.Actor, err = w.actor(r, text["user"], anonymous); err != nil {
		return wish, err
	}
	wish.Comment = text["comment"]
	switch {
	case (text["duration"] == "") == (text["until"] == ""):
		return wish, oncall.Errorf(oncall.CodeInvalid, `silence needs either "duration" (such as 2h) or "until" (a time such as %s)`,
			now().Add(time.Hour).UTC().Format(time.RFC3339))
	case text["duration"] != "":
		wish.For, err = oncall.ParseSilenceDuration(text["duration"])
	default:
		if wish.Until, err = time.Parse(time.RFC3339, text["until"]); err != nil {
			err = oncall.Errorf(oncall.CodeInvalid, "until: %q is no time such as %s", text["until"], now().Add(time.Hour).UTC().Format(time.RFC3339))
		}
	}
	return wish, err
}

// pressedSilence is the form of the console. It answers as the buttons do.
func (w *Web) pressedSilence(rw http.ResponseWriter, r *http.Request, number int64) {
	r.Body = http.MaxBytesReader(rw, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); !tooLarge {
			err = oncall.Errorf(oncall.CodeInvalid, "the form could not be read")
		}
		w.fail(rw, r, err)
		return
	}
	var err error
	wish := oncall.SilenceWish{Comment: r.PostForm.Get("comment"), Via: "console"}
	if wish.Actor, err = w.actor(r, strings.TrimSpace(r.PostForm.Get("user")), "console"); err == nil {
		if wish.For, err = oncall.ParseSilenceDuration(r.PostForm.Get("duration")); err == nil {
			_, err = w.o.Acts.Silence(r.Context(), number, wish, "")
		}
	}
	if refusal, ok := errors.AsType[*oncall.Error](err); ok && refusal.Code == oncall.CodeInvalid {
		w.drawIncident(rw, r, http.StatusBadRequest, "Nothing was silenced: "+refusal.Message)
		return
	}
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	rw.Header().Set("Location", "../"+strconv.FormatInt(number, 10)) // relative: a proxy may have cut the path
	rw.WriteHeader(http.StatusSeeOther)
}
