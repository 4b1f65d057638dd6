//! Every kind of movement once, over HTTP: a small real ledger. Also what the fixtures of released schemas are made with.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::client::{Answer, Client};

/// Drives the flow against one server.
pub(crate) struct Flow {
    client: Client,
    /// Begins every idempotency key and every user's name, so that a flow may run again on the same ledger.
    run: String,
    calls: u32,
}

impl Flow {
    pub(crate) fn new(address: SocketAddr, key: &str, run: &str) -> Flow {
        let client = Client::connect(address, key).expect("the server listens");
        Flow { client, run: run.to_owned(), calls: 0 }
    }

    /// Continues behind the idempotency keys of an earlier flow of the same name.
    pub(crate) fn numbered_from(self, calls: u32) -> Flow {
        Flow { calls, ..self }
    }

    fn user(&self, name: &str) -> String {
        format!("{name}-{}", self.run)
    }

    /// Posts with a fresh idempotency key.
    pub(crate) fn post(&mut self, path: &str, body: Value) -> Answer {
        self.calls += 1;
        let key = format!("{}-{}", self.run, self.calls);
        self.client.post(path, &key, &body.to_string()).expect("an answer")
    }

    /// The same, which must be answered with this status; the body.
    #[track_caller]
    pub(crate) fn done(&mut self, status: u16, path: &str, body: Value) -> Value {
        let answer = self.post(path, body);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        answer.body
    }

    #[track_caller]
    pub(crate) fn read(&mut self, path: &str) -> Value {
        let answer = self.client.get(path).expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.body
    }

    /// All of it.
    pub(crate) fn all(&mut self) {
        self.catalogue();
        self.debits();
        self.holds();
        self.debts();
        self.rules();
        self.reads();
    }

    /// A unit, actions and a second price.
    pub(crate) fn catalogue(&mut self) {
        let run = self.run.clone();
        self.done(201, "/v1/units", json!({"code": "sms", "scale": 0, "name": "Messages"}));
        let scan = json!({"model": "flat", "unit": "credit", "amount": "5"});
        self.done(201, "/v1/actions", json!({"key": format!("scan-{run}"), "name": "Scan", "price": scan}));
        let rates =
            json!({"input_tokens": {"rate": "3", "per": 1000}, "output_tokens": {"rate": "15", "per": 1000}});
        let chat = json!({"model": "per_dimension", "unit": "credit", "rates": rates});
        let chat = json!({"key": format!("chat-{run}"), "name": "Chat", "overage": "debt", "price": chat});
        self.done(201, "/v1/actions", chat);
        let later =
            json!({"model": "flat", "unit": "credit", "amount": "6", "valid_from": "2100-01-01T00:00:00Z"});
        self.done(201, &format!("/v1/actions/scan-{run}/prices"), later);
        self.done(200, &format!("/v1/actions/chat-{run}/deactivate"), json!({}));
        self.done(200, &format!("/v1/actions/chat-{run}/activate"), json!({}));
    }

    /// Grants, debits one by one and in a batch, a refund, a revoke, a transfer, and what is refused.
    pub(crate) fn debits(&mut self) {
        let (ann, bob, scan) = (self.user("ann"), self.user("bob"), format!("scan-{}", self.run));
        let paid = json!({"tenant": "acme", "user": ann, "amount": "100", "kind": "paid", "reason": "bought",
            "paid": {"amount": "50.00", "currency": "MYR"}, "reference": "invoice 1",
            "expires_at": "2099-01-01T00:00:00Z"});
        self.done(201, "/v1/grants", paid);
        let gift = json!({"tenant": "acme", "user": bob, "amount": "12", "kind": "promotional", "reason": "welcome"});
        let gift = self.done(201, "/v1/grants", gift);
        let debit = json!({"tenant": "acme", "user": ann, "action": scan, "reference": "job 7",
            "metadata": {"pages": 3, "who": "søren"}});
        let debit = self.done(201, "/v1/debits", debit);
        // The key of that call again: the same answer, and nothing moves.
        let key = format!("{}-{}", self.run, self.calls);
        let same = json!({"tenant": "acme", "user": ann, "action": scan, "reference": "job 7",
            "metadata": {"pages": 3, "who": "søren"}});
        let again = self.client.post("/v1/debits", &key, &same.to_string()).expect("an answer");
        assert!(again.replayed && again.body == debit, "{again:?}");
        let refund = format!("/v1/debits/{}/refund", text(&debit["id"]));
        self.done(200, &refund, json!({"amount": "2", "reason": "half of it failed"}));
        let one = |number: u32| {
            json!({"tenant": "acme", "user": ann, "action": scan,
            "idempotency_key": format!("{}-batch-{number}", self.run)})
        };
        let batch = json!({"debits": [one(1), one(2), one(3), one(1)]});
        let results = self.done(200, "/v1/debits/batch", batch)["results"].clone();
        let statuses: Vec<_> =
            results.as_array().expect("results").iter().map(|one| &one["status"]).collect();
        assert!(statuses.iter().all(|status| **status == 201), "{results}");
        let revoke = format!("/v1/grants/{}/revoke", text(&gift["id"]));
        self.done(200, &revoke, json!({"amount": "4", "reason": "a mistake"}));
        let transfer = json!({"tenant": "acme", "from": {"user": ann}, "to": {"user": bob}, "amount": "10",
            "reason": "team mate"});
        self.done(201, "/v1/transfers", transfer);
        let dear = json!({"tenant": "acme", "user": self.user("poor"), "action": scan});
        self.done(402, "/v1/debits", dear);
    }

    /// A hold that is extended and captured, one that is released, one that stays active.
    pub(crate) fn holds(&mut self) {
        let (ann, chat) = (self.user("ann"), format!("chat-{}", self.run));
        let hold = json!({"tenant": "acme", "user": ann, "action": chat,
            "dimensions": {"input_tokens": 1000, "output_tokens": 500}});
        let placed = self.done(201, "/v1/holds", hold.clone());
        let path = format!("/v1/holds/{}", text(&placed["id"]));
        self.done(200, &format!("{path}/extend"), json!({"expires_in": 3600}));
        let truth =
            json!({"dimensions": {"input_tokens": 1000, "output_tokens": 100}, "reference": "chat 1"});
        self.done(200, &format!("{path}/capture"), truth);
        let released = self.done(201, "/v1/holds", hold.clone());
        self.done(200, &format!("/v1/holds/{}/release", text(&released["id"])), json!({}));
        self.done(201, "/v1/holds", hold);
    }

    /// Work that was done is settled into debt, which the next grant repays.
    pub(crate) fn debts(&mut self) {
        let (carol, scan) = (self.user("carol"), format!("scan-{}", self.run));
        let settle = json!({"user": carol, "action": scan, "mode": "settle"});
        let debt = self.done(201, "/v1/debits", settle);
        assert_eq!(debt["balance"]["debt"], "5", "{debt}");
        let grant = json!({"user": carol, "amount": "8", "kind": "paid", "reason": "bought",
            "paid": {"amount": "4.00", "currency": "MYR"}});
        let grant = self.done(201, "/v1/grants", grant);
        assert_eq!(grant["balance"]["available"], "3", "{grant}");
    }

    /// A price and a discount of a tenant's own, a quantity that is included, a limit that tells and refuses, a quote, a rule of
    /// the gate.
    pub(crate) fn rules(&mut self) {
        let (eve, tenant) = (self.user("eve"), self.user("umbrella"));
        let (scan, chat, call) =
            (format!("scan-{}", self.run), format!("chat-{}", self.run), format!("call-{}", self.run));
        let paid = json!({"tenant": tenant, "user": eve, "amount": "100", "kind": "promotional", "reason": "welcome"});
        self.done(201, "/v1/grants", paid);
        let included =
            json!({"model": "per_quantity", "rate": "1", "included": {"quantity": "2", "period": "month"}});
        self.done(201, "/v1/actions", json!({"key": call, "name": "Call", "price": included}));
        self.done(201, "/v1/discounts", json!({"tenant": tenant, "percent": "20"}));
        let own = json!({"model": "per_dimension", "rates": {"input_tokens": {"rate": "1", "per": 1000}}});
        self.done(201, &format!("/v1/actions/{chat}/tenant_prices"), json!({"tenant": tenant, "price": own}));
        let limit = json!({"tenant": tenant, "each_user": true, "action": scan, "amount": "12", "period": "month",
            "alert_at": [50]});
        self.done(201, "/v1/limits", limit);
        let rule = json!({"key": format!("scans-{}", self.run), "path": format!("/{}/**", self.run), "action": scan});
        self.done(201, "/v1/gate/rules", rule);
        let ask = |action: &str| json!({"tenant": tenant, "user": eve, "action": action});
        for _ in 0..2 {
            assert_eq!(self.done(201, "/v1/debits", ask(&scan))["amount"], "4");
        }
        let mut quoted = ask(&scan);
        quoted["quote"] = self.done(200, "/v1/preflight", ask(&scan))["quote"]["token"].clone();
        self.done(201, "/v1/debits", quoted);
        self.done(403, "/v1/debits", ask(&scan));
        let mut calls = ask(&call);
        calls["quantity"] = json!(3);
        assert_eq!(self.done(201, "/v1/debits", calls)["amount"], "0.8");
        let mut hold = ask(&chat);
        hold["dimensions"] = json!({"input_tokens": 1000});
        assert_eq!(self.done(201, "/v1/holds", hold)["held"], "1");
    }

    /// Balances, statements by reference, lots, holds.
    pub(crate) fn reads(&mut self) {
        let ann = self.user("ann");
        let balance = self.read(&format!("/v1/balance?user={ann}&tenant=acme"));
        let wallet = text(&balance["wallets"][0]["wallet_id"]).to_owned();
        let entries = self.read(&format!("/v1/wallets/{wallet}/entries?limit=100"));
        assert!(entries["data"].as_array().expect("entries").len() > 10, "{entries}");
        let found = self.read(&format!("/v1/wallets/{wallet}/entries?reference=job%207"));
        assert_eq!(found["data"].as_array().expect("entries").len(), 1, "{found}");
        for what in ["lots", "holds"] {
            self.read(&format!("/v1/wallets/{wallet}/{what}"));
        }
        self.read("/v1/wallets?limit=10");
        self.read("/v1/actions");
    }

    /// What is available to the paying user of the flow.
    pub(crate) fn available(&mut self) -> String {
        let ann = self.user("ann");
        let balance = self.read(&format!("/v1/balance?user={ann}&tenant=acme"));
        text(&balance["wallets"][0]["balance"]["available"]).to_owned()
    }
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}
