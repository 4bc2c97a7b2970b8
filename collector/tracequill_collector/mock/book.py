"""The answer book: what the support desk of Fennel & Finch, a shop that does not exist, says.

Questions and answers are our own. Two answers are poor on purpose, so that whoever labels the
demo has something to find: ``WEAK_QUESTIONS`` names their questions.
"""

from __future__ import annotations

SHOP = "Fennel & Finch"

BOOK: tuple[tuple[str, str], ...] = (
    (
        "Hello, good morning, hi there",
        "Hello, this is the support desk of Fennel & Finch. What can I do for you today?",
    ),
    (
        "How long does standard delivery take?",
        "Standard delivery takes three to five working days. You get a message with a tracking "
        "link as soon as the parcel has left our warehouse.",
    ),
    (
        "How much is shipping, what does delivery cost?",
        "Shipping costs 4.90 euros, and nothing at all for orders of 60 euros or more.",
    ),
    (
        "Do you deliver abroad, to other countries, international?",
        "Yes, we deliver to 27 countries in Europe. Abroad a parcel takes six to nine working "
        "days, and shipping costs 11.90 euros.",
    ),
    (
        "Can I get express or next day delivery?",
        "Yes. Order before noon on a working day, choose express at the checkout for 9.90 euros, "
        "and the parcel arrives the next working day.",
    ),
    (
        "How can I track my parcel?",
        "Open the tracking link in our message, or sign in and choose Orders. The status there is "
        "updated every hour.",
    ),
    (
        "My parcel is late and has not arrived",
        "I am sorry that your parcel is late. If the tracking shows no movement for three working "
        "days, tell me the order number and I will send it again or refund it.",
    ),
    (
        "The article arrived damaged or broken",
        "I am sorry about that. Please send us a photo of the damaged article within 14 days; we "
        "replace it at our cost, and you need not send the broken one back.",
    ),
    (
        "I received the wrong item",
        "I am sorry for the mix-up. Keep the wrong item for now: I will send the right one today "
        "with a free label for the other.",
    ),
    (
        "An item is missing from my parcel",
        "Some orders travel in two parcels, so please look at the tracking first. If nothing else "
        "is on its way, I will send the missing item at no cost.",
    ),
    (
        "How many days do I have to return an order?",
        "You can return an order within 30 days of delivery, unused and in its original box.",
    ),
    (
        "How do I send something back, how does a return work?",
        "Sign in, choose Orders and then Return, and print the label. Drop the parcel at any post "
        "office; the label is free inside the country.",
    ),
    (
        "How long does a refund take, when do I get my money back?",
        "Refunds take about a month, sometimes longer.",
    ),
    (
        "Can I exchange for another size or colour?",
        "Yes. Choose Exchange instead of Return, pick the other size or colour, and we hold it "
        "for you for ten days.",
    ),
    (
        "Can I return reduced or sale articles?",
        "Yes, reduced articles can be returned within 30 days like all others. Only opened seeds "
        "and bulbs cannot.",
    ),
    (
        "Are gift cards available, and how long are they valid?",
        "Gift cards are available from 10 to 250 euros, by mail or by post. They are valid for "
        "three years.",
    ),
    (
        "Can you wrap my order as a gift, with a card?",
        "With pleasure. Tick the gift box at the checkout: wrapping costs 3.50 euros, a "
        "handwritten card is free, and the price does not show on the slip.",
    ),
    (
        "My discount code or voucher does not work",
        "A discount code works once, and not together with other offers. Tell me the code, and I "
        "will see why it is refused.",
    ),
    (
        "Do you have a loyalty programme with points?",
        "Yes, it is called Nest. You collect one point for every euro; 100 points are a voucher of "
        "5 euros.",
    ),
    (
        "Which payment methods can I use, credit card, bank transfer?",
        "You can pay by credit card, by bank transfer, or on invoice within 14 days. We never "
        "charge before the parcel leaves.",
    ),
    (
        "I need an invoice for my company with tax number",
        "Sign in, choose Orders and then Invoice, and enter the company and its tax number. The "
        "invoice is ready as a PDF at once.",
    ),
    (
        "How do I cancel my order?",
        "An order can be cancelled until it is packed, usually two hours after you placed it. "
        "Choose Orders and then Cancel; past that, simply return it.",
    ),
    (
        "Can I change the delivery address after ordering?",
        "Until the order is packed you can change the address under Orders. After that the carrier "
        "can redirect the parcel through the tracking link.",
    ),
    (
        "I forgot my password and cannot sign in",
        "Choose Forgot password on the sign-in page. The link in our message works for one hour; "
        "please look in the spam folder too.",
    ),
    (
        "How do I delete my account and my data?",
        "Choose Account and then Delete. We remove your data within seven days, but for the "
        "invoices that the law makes us keep.",
    ),
    (
        "How can I unsubscribe from the newsletter?",
        "Every newsletter ends with an unsubscribe link; one click is enough, and it takes effect "
        "at once.",
    ),
    (
        "When are you open, what are your opening hours?",
        "Our support desk answers Monday to Friday from 8 to 18 and Saturday from 9 to 13. The two "
        "shops are open Monday to Saturday from 10 to 19.",
    ),
    (
        "How can I talk to a person, phone number, human agent?",
        "Gladly: choose Call me back in the help menu, and a colleague rings you within the hour "
        "during opening hours.",
    ),
    (
        "What warranty or guarantee do your tools have?",
        "All garden tools have a warranty of ten years, electrical articles two. The receipt is "
        "enough; you need not register anything.",
    ),
    (
        "Do you repair tools and have spare parts?",
        "Yes. We stock spare parts for every tool for 15 years, and our workshop repairs "
        "secateurs, shears and spades for a fixed price of 12 euros.",
    ),
    (
        "How do I sharpen my secateurs?",
        "Open the secateurs and draw the whetstone along the bevel at about 20 degrees, always in "
        "one direction. Five strokes are enough; then wipe the blade with a drop of oil.",
    ),
    (
        "How do I clean the copper kettle?",
        "Rub the kettle with half a lemon and some salt, rinse it, and dry it at once. Never put "
        "copper in the dishwasher.",
    ),
    (
        "How do I care for wooden handles?",
        "Sand wooden handles lightly once a year and rub in two thin coats of linseed oil, a day "
        "apart. Keep the tool dry and off the floor.",
    ),
    (
        "Which hose fits, garden hose connector diameter?",
        "Our connectors fit hoses of 13 millimetres, which is half an inch. For 19 millimetres "
        "take the set marked Large.",
    ),
    (
        "When should I sow tomato seeds, germination?",
        "Sow tomatoes indoors from late February to the end of March, at about 22 degrees. The "
        "seeds germinate within ten days and may go outside in the middle of May.",
    ),
    (
        "Which compost bin size do I need?",
        "Reckon with 100 litres for each person in the house. For four people take the bin of 400 "
        "litres, and put it on open soil in half shade.",
    ),
    (
        "Which watering can is best for seedlings?",
        "All our watering cans are good.",
    ),
    (
        "When will a sold out article be back in stock?",
        "Choose Tell me on the page of the article, and you get a message on the day it is back. "
        "Most articles return within three weeks.",
    ),
    (
        "Where are your shops, can I collect my order in a store?",
        "Our two shops are in the Old Mill in Ashwick and on Harbour Street in Tern Bay. Choose "
        "Collect at the checkout; the order waits there for seven days.",
    ),
    (
        "Do you offer prices for large quantities, bulk or wholesale?",
        "Yes. From 20 pieces of one article there is 10 percent off, from 100 pieces 18 percent. "
        "Schools and allotment clubs get 5 percent more.",
    ),
    (
        "What is your packaging made of, is it sustainable?",
        "Our boxes are recycled cardboard, the filling is straw, and the tape is paper. We take "
        "plant pots back in both shops.",
    ),
    (
        "What is your privacy policy, do you share my data?",
        "We keep what an order needs and share your address with the carrier only. You can see and "
        "download all of it under Account.",
    ),
    (
        "Thank you, thanks, that helps, goodbye",
        "You are welcome. Have a good day, and happy gardening.",
    ),
)

WEAK_QUESTIONS: tuple[str, ...] = (
    "How long does a refund take, when do I get my money back?",
    "Which watering can is best for seedlings?",
)
