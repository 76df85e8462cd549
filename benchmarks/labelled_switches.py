"""Answers whose switches are marked by hand, to measure how well switches are found.

[[...]] is a switch: another language where the answer's own was due.  {{...}} is in another language too, and no
switch: code, an address, a unit, a name, a quotation, a gloss, a word of the prompt.  `hard` are switches and names
that look like each other.  Nothing of it comes from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_MARKED = re.compile(r"\[\[(.*?)\]\]|\{\{(.*?)\}\}", re.DOTALL)


@dataclass(frozen=True)
class Labelled:
    """An answer in `lang`; switched, foreign: for each of its characters, in a switch, in either kind of mark."""

    lang: str
    kind: str
    text: str
    prompt: str
    switched: tuple[bool, ...]
    foreign: tuple[bool, ...]


def labelled() -> list[Labelled]:
    """Return every sample: those written below, and clean sentences with a whole sentence of another language."""
    found = []
    for lang, kinds in WRITTEN.items():
        for kind, texts in kinds.items():
            for text in texts:
                prompt, _, answer = text.rpartition(" >> ")
                found.append(_unmarked(lang, kind, answer, prompt))
        found += [_unmarked(lang, "sentence", text, "") for text in _with_sentences(lang, kinds["clean"])]
    return found


def _with_sentences(lang: str, clean: list[str]) -> Iterator[str]:
    """Yield clean sentences before, after or around a sentence of another language."""
    for number, other in enumerate(SENTENCES[lang]):
        first, second = clean[number % len(clean)], clean[(number + 1) % len(clean)]
        yield (f"[[{other}]] {first}", f"{first} [[{other}]]", f"{first} [[{other}]] {second}")[number % 3]


def _unmarked(lang: str, kind: str, marked: str, prompt: str) -> Labelled:
    text, switched, foreign, end = "", [], [], 0
    for match in _MARKED.finditer(marked):
        for piece, is_switch, is_foreign in (
            (marked[end : match.start()], False, False),
            (match[1] or match[2], match[1] is not None, True),
        ):
            text += piece
            switched += [is_switch] * len(piece)
            foreign += [is_foreign] * len(piece)
        end = match.end()
    rest = marked[end:]
    none = [False] * len(rest)
    return Labelled(lang, kind, text + rest, prompt, (*switched, *none), (*foreign, *none))


CODE = "```python\n{{def add_numbers(first, second):\n    return first + second}}\n```\n"
ENGLISH = [
    "I hope this answers your question.",
    "However, there are some exceptions to this rule.",
    "Let me explain this step by step.",
    "Please note that the results may vary.",
    "In conclusion, everyone should drink enough water.",
    "The weather has been getting warmer every year.",
]
SENTENCES = {
    "zh": [*ENGLISH, "Это очень важный вопрос для нас.", "これはとても大切なことです。"],
    "hi": [*ENGLISH, "आपण सर्वांनी दररोज सकाळी लवकर उठून व्यायाम करायला हवा आहे.", "这个问题非常重要。"],
    "ar": [*ENGLISH, "یہ کتاب بہت اچھی ہے اور مجھے پسند آئی۔", "این کتاب را دیروز از کتابخانه گرفتم."],
    "id": [*ENGLISH, "这是一个很好的问题。", "Это хороший вопрос."],
    "sw": [*ENGLISH, "这是一个很好的问题。", "هذا سؤال جيد جدا."],
    "vi": [*ENGLISH, "这是一个很好的问题。", "Это хороший вопрос."],
    "bn": [*ENGLISH, "यह एक बहुत अच्छा सवाल है।", "هذا سؤال جيد جدا."],
}
WRITTEN: dict[str, dict[str, list[str]]] = {
    "zh": {
        "clean": [
            "昨天下雨了，所以我们没有去公园。",
            "这座城市有三百多万人口，是全省最大的城市。",
            "做番茄炒蛋时，先把鸡蛋打散，再把番茄切块。",
            "他每天早上六点起床，跑步半小时，然后吃早饭。",
            "阅读可以开阔眼界，也能让人安静下来。",
            "秋天的时候，山上的树叶变成了红色和黄色。",
            "如果您有其他问题，请随时告诉我！",
            "长江是中国最长的河流，全长约六千三百公里。",
        ],
        "switch": [
            "这个方法很[[useful]]，大家都可以试试。",
            "总的来说，这本书[[is very interesting]]，值得一读。",
            "我们需要[[consider]]这个问题的各个方面。",
            "他的态度很[[professional]]，让人放心。",
            "今天的[[meeting]]推迟到下午三点。",
            "首先，[[you should]]准备好所有的材料。",
            "健康的饮食[[and regular exercise]]都很重要。",
            "这件事[[очень]]难办。",
            "我觉得这个[[アイデア]]很好。",
            "因此，我们[[therefore must]]采取行动。",
            "学习语言最好的方法就是[[practice every day]]。",
            "请把文件[[send]]给我。",
        ],
        "hard": [
            "他看了我一眼，说了声[[Hello]]，然后走了。",
            "[[Sorry]]，我不明白您的意思。",
            "终端里输入{{sudo apt update}}然后回车。",
            "{{The Lord of the Rings}}是一部很长的小说。",
            "他穿着{{adidas}}的鞋。",
            "[[OK]]，我们现在开始吧。",
        ],
        "excused": [
            "人类的遗传信息储存在{{DNA}}中。",
            "{{GPT-4}}是一个大型语言模型。",
            "运行`{{pip install numpy}}`即可安装。",
            "详情请见{{https://example.org/docs/start.html}}。",
            "请写信到{{info@example.com}}联系我们。",
            "这辆车每小时能跑120{{km}}，重1.5 {{t}}。",
            "“{{hello}}”在中文里是“你好”的意思。",
            "人工智能（{{Artificial Intelligence}}）正在改变世界。",
            "下面是代码：\n```python\n{{for i in range(3):\n    print(i)}}\n```\n它会打印三个数字。",
            "什么是machine learning？ >> {{machine learning}}就是让计算机从数据中学习。",
            "{{Barack Obama}}是美国第四十四任总统。",
            "设{{x}}等于三，则{{y}}等于五。",
            "这首歌的名字叫《{{Yesterday Once More}}》。",
            "他用{{iPhone}}拍了这张照片。",
            "{{NASA}}在1969年把人送上了月球。",
            "函数{{np.mean}}计算平均值，{{my_list}}是一个列表。",
        ],
    },
    "hi": {
        "clean": [
            "कल बारिश हुई थी, इसलिए हम बाज़ार नहीं गए।",
            "भारत में बहुत सी भाषाएँ बोली जाती हैं।",
            "सुबह जल्दी उठना सेहत के लिए अच्छा होता है।",
            "मेरी माँ रोज़ शाम को चाय बनाती हैं और हम सब साथ बैठकर बातें करते हैं।",
            "यह किताब मुझे मेरे दोस्त ने दी थी।",
            "पानी उबालकर पीना चाहिए ताकि बीमारियाँ न हों।",
            "बच्चे मैदान में क्रिकेट खेल रहे थे।",
            "दिल्ली भारत की राजधानी है और यहाँ बहुत पुरानी इमारतें हैं।",
        ],
        "switch": [
            "यह तरीका बहुत [[useful]] है।",
            "मैं कल [[office]] नहीं जाऊँगा।",
            "हमें इस बारे में [[think carefully]] करना चाहिए।",
            "वह बहुत [[happy]] थी क्योंकि उसका रिज़ल्ट अच्छा आया।",
            "आप अपना [[time]] बर्बाद मत कीजिए।",
            "सबसे पहले [[you need to]] सारा सामान इकट्ठा कीजिए।",
            "यह [[очень]] अच्छा है।",
            "व्यायाम से [[stress]] कम होता है।",
            "मुझे यह [[movie]] पसंद आई।",
            "पानी [[is essential for]] जीवन।",
            "कृपया मुझे [[help]] कीजिए।",
        ],
        "hard": [
            "[[Sorry]], मुझे यह नहीं पता।",
            "टर्मिनल में {{sudo apt update}} लिखिए।",
            "उसने {{adidas}} के जूते पहने हैं।",
            "{{The Lord of the Rings}} एक लंबा उपन्यास है।",
            "[[Thank You]] दोस्तों, आप सबका।",
            "नमस्ते, [[तुम्ही कसे आहात?]]",
        ],
        "excused": [
            "{{DNA}} में आनुवंशिक जानकारी होती है।",
            "{{GPT-4}} एक भाषा मॉडल है।",
            "`{{git push}}` लिखकर चलाइए।",
            "और जानकारी {{https://example.in/help}} पर है।",
            "हमें {{mail@example.in}} पर लिखिए।",
            "इसका वज़न 5 {{kg}} है और लंबाई 30{{cm}}।",
            "“{{good morning}}” का मतलब सुप्रभात है।",
            "कृत्रिम बुद्धिमत्ता ({{artificial intelligence}}) तेज़ी से बढ़ रही है।",
            "भारत में {{Google}} का दफ़्तर बेंगलुरु में है।",
            "cloud computing क्या है? >> {{cloud computing}} में डेटा दूर के कंप्यूटरों पर रखा जाता है।",
            "{{ISRO}} ने चंद्रमा पर यान भेजा।",
            "```\n{{SELECT name FROM users;}}\n```\nयह नाम दिखाता है।",
            "मान लीजिए {{x}} का मान दो है।",
            "{{Albert Einstein}} एक महान वैज्ञानिक थे।",
            "{{main.py}} फ़ाइल खोलिए।",
        ],
    },
    "ar": {
        "clean": [
            "ذهبت أمس إلى السوق واشتريت الخضار والفواكه.",
            "القاهرة هي عاصمة مصر وأكبر مدنها.",
            "القراءة توسع المدارك وتفيد العقل.",
            "يجب أن نشرب الماء كل يوم لنحافظ على صحتنا.",
            "كان الجو باردا في الليل فأشعلنا النار.",
            "يعمل أخي مهندسا في شركة كبيرة.",
            "إذا كان لديك أي سؤال آخر فلا تتردد في طرحه.",
            "تقع المدرسة بجانب المسجد القديم.",
        ],
        "switch": [
            "هذه الطريقة [[very useful]] للطلاب.",
            "يجب علينا أن [[think]] في هذا الأمر.",
            "كان الاجتماع [[boring]] جدا.",
            "أولا، [[you should]] تجهيز كل الأدوات.",
            "الصحة [[is more important than]] المال.",
            "هذا [[очень]] مهم.",
            "أرسلت له [[message]] أمس.",
            "التعليم [[重要]] في كل مكان.",
            "نحتاج إلى [[more time]] لإنهاء العمل.",
            "أنا [[happy]] بهذه النتيجة.",
        ],
        "hard": [
            "[[Sorry]]، لا أعرف الجواب.",
            "اكتب {{sudo apt update}} في الطرفية.",
            "{{The Lord of the Rings}} رواية طويلة.",
            "اشترى حذاء {{adidas}} جديدا.",
            "[[Thank You]] يا أصدقاء.",
        ],
        "excused": [
            "يحمل {{DNA}} المعلومات الوراثية.",
            "{{GPT-4}} نموذج لغوي كبير.",
            "اكتب الأمر `{{ls -la}}` ثم اضغط مفتاح الإدخال.",
            "انظر الموقع {{https://example.org/ar}} للمزيد.",
            "راسلنا على {{info@example.org}} من فضلك.",
            "تبلغ المسافة 15 {{km}} تقريبا.",
            "كلمة «{{hello}}» تعني مرحبا.",
            "الذكاء الاصطناعي ({{Artificial Intelligence}}) يتطور بسرعة.",
            "أسس {{Bill Gates}} شركة {{Microsoft}} عام 1975.",
            "ما هو deep learning؟ >> إن {{deep learning}} فرع من تعلم الآلة.",
            "أطلقت {{NASA}} مسبارا جديدا.",
            "إذا كان {{x}} أكبر من {{y}} فالناتج موجب.",
            "```js\n{{console.log('hi')}}\n```\nهذا يطبع كلمة.",
            "الملف {{data.csv}} يحتوي على الأرقام.",
        ],
    },
    "id": {
        "clean": [
            "Kemarin hujan deras sehingga kami tidak jadi pergi ke pantai.",
            "Ibu kota Indonesia adalah Jakarta, kota yang sangat padat penduduknya.",
            "Membaca buku setiap hari dapat menambah wawasan kita.",
            "Untuk membuat nasi goreng, siapkan nasi, telur, bawang, dan kecap.",
            "Adik saya sedang belajar matematika di kamarnya.",
            "Petani di desa itu menanam padi dua kali setahun.",
            "Olahraga teratur membuat tubuh sehat dan pikiran segar.",
            "Saya menonton film di bioskop bersama teman-teman.",
            "Internet memudahkan kita mencari informasi.",
        ],
        "switch": [
            "Menurut saya, ini adalah [[the best way to learn]] bahasa baru.",
            "Dia bilang [[I don't really care about that]] lalu pergi.",
            "Kesehatan [[is more important than]] uang bagi kebanyakan orang.",
            "Kita harus [[think about the future]] sebelum mengambil keputusan.",
            "Langkah pertama adalah [[to collect all the information]] yang diperlukan.",
            "Saya sangat [[grateful for your help]] hari ini.",
            "Saya harus [[attend meeting]] besok pagi.",
            "Dia merasa [[insecure]] dengan penampilannya.",
            "Tolong [[send]] dokumen itu segera.",
            "Cuaca hari ini [[очень]] panas.",
            "Makanan ini [[非常]] enak.",
            "Oleh karena itu, [[we should always be careful]] saat menyeberang jalan.",
        ],
        "hard": [
            "[[Sorry]], saya tidak tahu jawabannya.",
            "Ketik {{sudo apt update}} di terminal.",
            "{{The Lord of the Rings}} adalah novel yang panjang.",
            "[[Thank You]] teman-teman semua.",
            "Dia bekerja sebagai {{software engineer}} di Bandung.",
        ],
        "excused": [
            'Perintah `{{git commit -m "first version of the file"}}` menyimpan perubahan.',
            "Lihat {{https://www.example.com/how-to-learn-a-language}} untuk keterangan lebih lanjut.",
            "Kirim surel ke {{please.write.to.us@example.com}} bila ada pertanyaan.",
            "Ungkapan “{{break a leg}}” berarti semoga berhasil.",
            "Pembelajaran mesin ({{machine learning}}) adalah cabang ilmu komputer.",
            "Apa arti time is money? >> Pepatah {{time is money}} berarti waktu sangat berharga.",
            "{{World Health Organization}} didirikan pada tahun 1948.",
            f"{CODE}Fungsi ini menjumlahkan dua bilangan.",
            "Kecepatannya 80 {{km/h}} dan beratnya 900 {{kg}}.",
            'Lagu itu berjudul "{{Let It Be}}" dan sangat terkenal.',
            "Kata “{{привет}}” berasal dari negeri lain.",
            "Ayah bekerja di {{Bank of America}} sejak lama.",
        ],
    },
    "sw": {
        "clean": [
            "Jana mvua ilinyesha sana kwa hiyo hatukwenda sokoni.",
            "Dodoma ni mji mkuu wa Tanzania.",
            "Watoto wanacheza mpira uwanjani baada ya masomo.",
            "Kusoma vitabu kunasaidia kuongeza maarifa.",
            "Mama anapika ugali na mboga za majani jikoni.",
            "Maji safi ni muhimu kwa afya ya binadamu.",
            "Mkulima alipanda mahindi na maharage shambani kwake.",
            "Ninapenda kusafiri na kuona sehemu mpya za nchi yetu.",
        ],
        "switch": [
            "Nadhani hii ndiyo [[the best way to learn]] lugha mpya.",
            "Afya [[is more important than]] mali kwa watu wengi.",
            "Alisema [[I will come back tomorrow]] kisha akaondoka.",
            "Tunapaswa [[to think about the future]] kabla ya kuamua.",
            "Hatua ya kwanza ni [[collecting all the information]] inayohitajika.",
            "Nina furaha [[because of your help]] leo.",
            "Lazima [[niattend]] mkutano kesho.",
            "Tafadhali [[send]] barua hiyo mapema.",
            "Hali ya hewa ni [[очень]] nzuri.",
            "Kwa hiyo [[we should always be careful]] barabarani.",
        ],
        "hard": [
            "[[Sorry]], sijui jibu lake.",
            "Andika {{sudo apt update}} kwenye kompyuta.",
            "{{The Lord of the Rings}} ni riwaya ndefu.",
            "[[Thank You]] marafiki zangu wote.",
        ],
        "excused": [
            'Amri `{{git commit -m "first version of the file"}}` huhifadhi mabadiliko.',
            "Tazama {{https://www.example.com/how-to-learn-a-language}} kwa maelezo zaidi.",
            "Andika kwa {{please.write.to.us@example.com}} ukiwa na swali.",
            "Msemo “{{time is money}}” una maana kwamba muda ni mali.",
            "Akili bandia ({{artificial intelligence}}) inakua haraka.",
            "Nini maana ya climate change? >> Neno {{climate change}} lina maana ya mabadiliko ya tabianchi.",
            "{{World Health Organization}} ilianzishwa mwaka 1948.",
            f"{CODE}Kazi hii hujumlisha namba mbili.",
            "Kasi yake ni 80 {{km/h}} na uzito ni 900 {{kg}}.",
            'Wimbo huo unaitwa "{{Let It Be}}" na unapendwa sana.',
        ],
    },
    "vi": {
        "clean": [
            "Hôm qua trời mưa to nên chúng tôi không đi chơi.",
            "Hà Nội là thủ đô của Việt Nam.",
            "Đọc sách mỗi ngày giúp chúng ta hiểu biết nhiều hơn.",
            "Để nấu phở bò, bạn cần xương bò, bánh phở và hành.",
            "Em trai tôi đang học toán trong phòng.",
            "Nông dân trồng lúa hai vụ mỗi năm.",
            "Tập thể dục thường xuyên giúp cơ thể khỏe mạnh.",
            "Anh ấy mua một chiếc xe đạp mới cho con gái.",
        ],
        "switch": [
            "Theo tôi, đây là [[the best way to learn]] một ngôn ngữ mới.",
            "Sức khỏe [[is more important than]] tiền bạc.",
            "Cô ấy nói [[I will come back tomorrow]] rồi đi.",
            "Chúng ta nên [[think about the future]] trước khi quyết định.",
            "Bước đầu tiên là [[collecting all the information]] cần thiết.",
            "Tôi rất [[happy]] với kết quả này.",
            "Ngày mai tôi có [[deadline]] quan trọng.",
            "Xin hãy [[send]] tài liệu cho tôi.",
            "Thời tiết hôm nay [[очень]] đẹp.",
            "Món này [[非常]] ngon.",
            "Vì vậy, [[we should always be careful]] khi qua đường.",
        ],
        "hard": [
            "[[Sorry]], tôi không biết câu trả lời.",
            "Gõ {{sudo apt update}} trong cửa sổ lệnh.",
            "{{The Lord of the Rings}} là một tiểu thuyết dài.",
            "[[Thank You]] các bạn rất nhiều.",
        ],
        "excused": [
            'Lệnh `{{git commit -m "first version of the file"}}` lưu thay đổi.',
            "Xem {{https://www.example.com/how-to-learn-a-language}} để biết thêm.",
            "Hãy gửi thư tới {{please.write.to.us@example.com}} nếu có câu hỏi.",
            "Câu “{{time is money}}” có nghĩa là thời gian là vàng bạc.",
            "Trí tuệ nhân tạo ({{artificial intelligence}}) phát triển nhanh.",
            "Climate change là gì? >> Thuật ngữ {{climate change}} nghĩa là biến đổi khí hậu.",
            "{{World Health Organization}} được thành lập năm 1948.",
            f"{CODE}Hàm này cộng hai số.",
            "Tốc độ là 80 {{km/h}} và nặng 900 {{kg}}.",
            'Bài hát tên là "{{Let It Be}}" rất nổi tiếng.',
        ],
    },
    "bn": {
        "clean": [
            "গতকাল বৃষ্টি হয়েছিল, তাই আমরা বাইরে যাইনি।",
            "ঢাকা বাংলাদেশের রাজধানী।",
            "আমার ভাই প্রতিদিন সকালে স্কুলে যায়।",
            "মা রান্নাঘরে ভাত রান্না করছেন।",
            "বই পড়লে জ্ঞান বাড়ে।",
            "নদীর ধারে অনেক গাছ আছে।",
        ],
        "switch": [
            "এই পদ্ধতিটি খুব [[useful]] বলে মনে হয়।",
            "আমি আজ খুব [[happy]] হয়েছি।",
            "আমাদের [[think about it]] করা উচিত।",
            "স্বাস্থ্য [[is more important than]] টাকা।",
            "এটা [[बहुत]] ভালো।",
            "দয়া করে আমাকে [[message]] পাঠান।",
        ],
        "hard": [
            "[[Sorry]], আমি উত্তর জানি না।",
            "টার্মিনালে {{sudo apt update}} লিখুন।",
            "{{The Lord of the Rings}} একটি দীর্ঘ উপন্যাস।",
        ],
        "excused": [
            "{{DNA}} বংশগতির তথ্য বহন করে।",
            "`{{npm install}}` লিখুন।",
            "বিস্তারিত {{https://example.com/bn}} এ আছে।",
            "এর ওজন ১২ {{kg}} নয়, 15 {{kg}}।",
            "“{{hello}}” মানে ওহে।",
            "যন্ত্রের শিক্ষা ({{machine learning}}) এখন জনপ্রিয়।",
            "{{Google}} একটি বড় কোম্পানি।",
            "সমীকরণে {{x}} এর মান পাঁচ।",
        ],
    },
}
