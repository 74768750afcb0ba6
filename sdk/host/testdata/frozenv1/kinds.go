package main

import (
	"os"
	"strconv"
)

// description is what the plugin says about itself.
var description = object{
	"name": "frozenv1", "version": "1.0.0", "environment": []string{"FROZEN_*"},
	"kinds": []object{
		{
			"name": "auth", "majors": []int{1}, "headers": []string{"Authorization"}, "configSchema": "{}",
			"capabilities": []string{"sign", "login", "subject", "observe"},
		},
		{"name": "transport", "majors": []int{1}, "configSchema": "{}"},
		{"name": "probe", "majors": []int{1}, "configSchema": "{}"},
		{"name": "metrics", "majors": []int{1}, "configSchema": "{}"},
	},
}

func header(name, value string) []object {
	return []object{{"name": name, "values": []any{[]byte(value)}}}
}

func credentialsOf(held, in object) (object, error) {
	switch id := str(in, "request", "identity", "id"); id {
	case "rejected":
		return nil, fail("not you", "CODE_CREDENTIALS_REJECTED", "ORIGIN_DOWNSTREAM")
	case "exit":
		os.Exit(7)
		return nil, nil
	default:
		value := str(held, "greeting") + " " + str(held, "key") + " " + id + " " + string(bytes(in, "request", "identity", "subject", "token")) +
			" " + strconv.Itoa(os.Getpid())
		return object{
			"headers": header("Authorization", value), "expires": "2033-05-18T03:33:20Z", "generation": "g1",
		}, nil
	}
}

func challenge(_, in object) (object, error) {
	if string(bytes(in, "body")) != "body" || in["status"] != 401.0 || str(in, "generation") != "g1" {
		return object{"outcome": "OUTCOME_GIVE_UP"}, nil
	}
	return object{"outcome": "OUTCOME_RETRY"}, nil
}

func export(_, in object) (object, error) {
	scopes, _ := in["scopes"].([]any)
	if str(scopes[0].(object), "name") == "permanent" {
		return object{"failure": object{"failure": object{"message": "never"}, "permanent": true}}, nil
	}
	return object{"rejected": 1, "reason": str(in, "instance") + " has " + strconv.Itoa(len(scopes)) + " scopes"}, nil
}

// sign answers calls, and counts observations: the signature says how many there were.
func (p *plugin) sign(c *call) error {
	seen := 0
	for {
		in, err := c.recv()
		if err != nil {
			return nil
		}
		out := object{"id": in["id"]}
		switch call, ok := in["call"].(object); {
		case in["observation"] != nil:
			seen++
			continue
		case !ok:
			continue
		case str(call, "request", "identity", "id") == "rejected":
			out["failure"] = object{"message": "not you", "causes": []object{{"code": "CODE_CREDENTIALS_REJECTED"}}}
		default:
			out["signature"] = object{
				"headers":  header("Authorization", "signed "+str(call, "http", "method")+" "+str(call, "http", "url")+" "+strconv.Itoa(seen)),
				"rawQuery": "s=1", "generation": "k1",
			}
		}
		if err := c.send(out); err != nil {
			return err
		}
	}
}

// login asks for everything that a dialog has.
func (p *plugin) login(c *call) error {
	in, err := c.recv()
	if err != nil {
		return err
	}
	begin, _ := in["begin"].(object)
	if _, err := p.instance(begin); err != nil {
		return err
	}
	ask := func(id int, name string, about object) string {
		if c.send(object{"id": id, name: about}) != nil {
			return ""
		}
		for {
			in, err := c.recv()
			if err != nil {
				return ""
			}
			if answer, _ := in["answer"].(object); str(answer, "id") == strconv.Itoa(id) {
				return string(bytes(answer, "value"))
			}
		}
	}
	back := ask(1, "redirectUrl", object{})
	ask(2, "show", object{"url": "https://login.example/?back=" + back, "userCode": "AB"})
	done := object{}
	if query := ask(3, "callback", object{"state": "s"}); query != "code=1&state=s" {
		done["failure"] = object{"message": "a wrong code", "causes": []object{{"code": "CODE_CREDENTIALS_REJECTED"}}}
	}
	return c.send(object{"id": 0, "done": done})
}

// session answers each message with itself, in pieces of two bytes.
func (p *plugin) session(c *call) error {
	in, err := c.recv()
	if err != nil {
		return err
	}
	open, _ := in["open"].(object)
	held, err := p.instance(open)
	if err != nil {
		return err
	}
	if str(open, "target", "name") == "refuse" {
		return c.send(object{"ended": object{"refusal": object{"status": 401, "problem": "no token"}, "failure": object{"message": "refused"}}})
	}
	if err := c.send(object{"opened": object{"partBytes": 1 << 20}}); err != nil {
		return err
	}
	var whole []byte
	for sent := 1; ; {
		in, err := c.recv()
		if err != nil {
			return err
		}
		switch {
		case in["close"] != nil:
			return c.send(object{"closed": object{}})
		case in["part"] == nil:
			continue // taken, cancel
		}
		part := in["part"].(object)
		if whole = append(whole, bytes(part, "data")...); part["more"] == true {
			continue
		}
		if err := c.send(object{"sent": object{"id": part["id"]}}); err != nil {
			return err
		}
		if string(whole) == "end" {
			return c.send(object{"ended": object{"ending": object{"reason": "REASON_SESSION_GONE"}, "failure": object{"message": "gone"}}})
		}
		answer := append([]byte(str(held, "greeting")+" "), whole...)
		for whole = nil; len(answer) > 0; {
			n := min(2, len(answer))
			if err := c.send(object{"part": object{"data": answer[:n], "more": n < len(answer), "id": sent}}); err != nil {
				return err
			}
			answer = answer[n:]
		}
		sent++
	}
}

// probe makes one call that is listed, and one that is not.
func (p *plugin) probe(c *call) error {
	in, err := c.recv()
	if err != nil {
		return err
	}
	begin, _ := in["begin"].(object)
	if _, err := p.instance(begin); err != nil {
		return err
	}
	var reason string
	for id, method := range []string{"ping", "drop"} {
		if err := c.send(object{"call": object{"id": id, "method": method, "params": []byte(`{"a":1}`)}}); err != nil {
			return err
		}
		in, err := c.recv()
		if err != nil {
			return err
		}
		result, _ := in["result"].(object)
		if result["notListed"] != nil {
			reason += " not listed"
		}
		reason += string(bytes(result, "value"))
	}
	return c.send(object{"done": object{"verdict": object{"status": "STATUS_DEGRADED", "reason": reason}}})
}
