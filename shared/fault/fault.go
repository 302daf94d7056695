// Package fault is the one vocabulary of what can go wrong. Every layer speaks
// it; one table at each edge turns a kind into an HTTP status (spi) or into a
// decision about a queue message (worker).
package fault

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"sitoo-rule/shared/sentence"
)

// Kind says who can do something about an error, and what.
type Kind int

const (
	// Internal is a defect of ours or of something we cannot name. It is the
	// zero value so that an unclassified error is never mistaken for the
	// caller's mistake.
	Internal Kind = iota
	// Invalid is the caller's input; sending the same again gives the same answer.
	Invalid
	// TooLarge is input over a documented limit.
	TooLarge
	// Unauthorized is a key that is missing or that Rule refuses.
	Unauthorized
	// NotFound is a thing that does not exist, or not any more.
	NotFound
	// Conflict is input that is well formed and contradicts what is stored.
	Conflict
	// Busy is a limit of somebody else's that is used up; RetryAt says until when.
	Busy
	// Unavailable is a system that did not answer, or not sensibly; trying later may help.
	Unavailable
)

var names = [...]string{"internal", "invalid", "too_large", "unauthorized", "not_found", "conflict", "busy", "unavailable"}

// String returns the kind as one machine-readable word, as written in logs.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(names) {
		return names[Internal]
	}
	return names[k]
}

// Error is an error with a kind and, where the caller may read it, one plain
// sentence. Message reaches the cashier, so it never contains a secret, a
// person's data or internal text; Err is for the log only.
type Error struct {
	Kind    Kind
	Member  string // the member of the input that is wrong, "" if none
	Message string // one sentence for the caller, "" for the kind's own
	// Code is the sentence's in the catalogue of package sentence, "" for one that
	// is not in it; Args are its arguments. Message is the English text then,
	// whole, and a caller reads the one in its own language.
	Code    string
	Args    sentence.Args
	RetryAt time.Time // earliest time a new try makes sense, zero if unknown
	Detail  any       // more for the caller, as JSON; nil if the sentence says it all
	Err     error     // the cause, never shown to a caller
}

// Error returns the text for the log.
func (e *Error) Error() string {
	s := e.Kind.String()
	if e.Member != "" {
		s += " " + e.Member
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Say returns an error of a kind with a sentence of the catalogue. args are the
// names and the values of its arguments in turn.
func Say(k Kind, code string, args ...any) *Error {
	e := &Error{Kind: k, Code: code}
	for i := 0; i+1 < len(args); i += 2 {
		if e.Args == nil {
			e.Args = sentence.Args{}
		}
		e.Args[fmt.Sprint(args[i])] = args[i+1]
	}
	e.Message, _ = sentence.Text(sentence.English, code, e.Args)
	return e
}

// SayBad returns an Invalid error with a sentence of the catalogue about a member
// of the input, which is the sentence's argument "field".
func SayBad(member, code string, args ...any) *Error {
	e := Say(Invalid, code, append(args, sentence.Field, member)...)
	e.Member = member
	return e
}

// About returns a copy of an error about a file that also tells of the worksheet:
// about has the arguments sentence.Sheet and sentence.Others, nil for none.
func (e *Error) About(about sentence.Args) *Error {
	if about == nil {
		return e
	}
	told := *e
	told.Args = maps.Clone(e.Args)
	if told.Args == nil {
		told.Args = sentence.Args{}
	}
	maps.Copy(told.Args, about)
	told.Message, _ = sentence.Text(sentence.English, e.Code, told.Args)
	return &told
}

// With returns the error with its cause.
func (e *Error) With(cause error) *Error {
	e.Err = cause
	return e
}

// Sentence returns what the caller reads, in a language ("sv" or "en"): the
// error's own sentence, or its kind's. An Internal error never says more than
// its kind does.
func (e *Error) Sentence(language string) string {
	text, ok := sentence.Text(language, e.Code, e.Args)
	switch {
	case e.Kind == Internal || !ok && e.Message == "":
		text, _ = sentence.Text(language, e.kindCode(), nil)
	case !ok && e.Member != "":
		text = e.Member + " " + e.Message + "."
	case !ok:
		text = e.Message
	}
	return text
}

// SentenceCode returns the code of what Sentence returns; a sentence that is not
// in the catalogue goes by its kind.
func (e *Error) SentenceCode() string {
	if e.Code == "" || e.Kind == Internal {
		return e.kindCode()
	}
	return e.Code
}

func (e *Error) kindCode() string {
	if e.Kind == Unauthorized {
		return "key_refused"
	}
	return e.Kind.String()
}

// New returns an error of a kind with a sentence for the caller.
func New(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// Bad returns an Invalid error that names a member of the input. The message
// says what is wrong and what is expected, without the member's name.
func Bad(member, format string, args ...any) *Error {
	return &Error{Kind: Invalid, Member: member, Message: fmt.Sprintf(format, args...)}
}

// Wrap gives err a kind, keeping it for the log. It returns nil for a nil err.
func Wrap(k Kind, err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...), Err: err}
}

// As returns the first *Error in err's chain; an error without one is
// Internal. It returns nil only for a nil err.
func As(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Kind: Internal, Err: err}
}

// KindOf returns the kind of err, Internal if it has none.
func KindOf(err error) Kind {
	if e := As(err); e != nil {
		return e.Kind
	}
	return Internal
}

// since is an error with the time from which on it has happened again and again.
type since struct {
	error
	at time.Time
}

func (s since) Unwrap() error { return s.error }

// Since notes from when on what err is about has failed, try after try, for who
// decides how long to go on. It returns nil for a nil err.
func Since(err error, at time.Time) error {
	if err == nil {
		return nil
	}
	return since{err, at}
}

// SinceOf returns what Since has noted, the zero time if nothing.
func SinceOf(err error) time.Time {
	s, _ := errors.AsType[since](err)
	return s.at
}
