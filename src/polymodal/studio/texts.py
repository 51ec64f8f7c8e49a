"""All that the studio says, in English and in Chinese."""

from typing import Literal

Language = Literal["en", "zh"]

LANGUAGES: dict[Language, str] = {"en": "English", "zh": "中文"}
"""By code, each language as it calls itself."""

TEXTS: dict[str, tuple[str, str]] = {
    "title": ("polymodal studio", "polymodal 工作室"),
    "intro": (
        "Any field of a row from any others. Everything stays on this machine, and every button shows the command "
        "that does the same.",
        "由一行中的任意字段生成任意其他字段。所有内容都留在本机；每个按钮都会显示具有同样作用的命令。",
    ),
    "run": ("Run", "运行"),
    "run.info": ("A folder that `polymodal train` made", "由 `polymodal train` 生成的文件夹"),
    "run.none": ("Train a model first, or choose a run above.", "请先训练模型，或在上方选择一个运行。"),
    "command": ("Command", "命令"),
    "output": ("Output", "输出"),
    "files": ("Files", "文件"),
    "page": ("The page as a file", "页面文件"),
    "stop": ("Stop", "停止"),
    "stopped": ("stopped", "已停止"),
    "finished": ("finished", "已完成"),
    "failed": ("failed", "失败"),
    "working": ("working …", "进行中……"),
    "data": ("Data", "数据"),
    "data.upload": ("Upload a table, and the files that it names", "上传表格及其所引用的文件"),
    "data.source": ("Table, folder or built-in data set", "表格、文件夹或内置数据集"),
    "data.recognise": ("Recognise", "识别"),
    "data.fields": ("Fields, to be corrected", "字段（可修改）"),
    "data.check": ("Check the corrected fields", "检查修改后的字段"),
    "data.validation": ("Share of validation rows", "验证集比例"),
    "data.test": ("Share of test rows", "测试集比例"),
    "data.sheet": ("Contact sheet", "样本一览"),
    "data.report": ("Rows and fields", "行与字段"),
    "data.bad": ("Rows set aside and cells that cannot be read", "被排除的行与无法读取的单元格"),
    "data.none": ("Upload a table, or name one.", "请上传表格或填写其路径。"),
    "column.use": ("use", "使用"),
    "column.field": ("field", "字段"),
    "column.modality": ("modality", "模态"),
    "column.column": ("column", "列"),
    "column.settings": ("settings", "设置"),
    "column.row": ("row", "行"),
    "column.rows": ("rows", "行数"),
    "column.distinct": ("distinct", "不同值"),
    "column.shape": ("shape", "形状"),
    "column.ids": ("ids", "类别数"),
    "column.length": ("length", "长度"),
    "column.file": ("file", "文件"),
    "column.reason": ("reason", "原因"),
    "train": ("Train", "训练"),
    "train.recipe": ("Recipe", "配方"),
    "train.size": ("Size", "规模"),
    "train.budget": ("Train for", "训练时长"),
    "train.minutes": ("minutes", "分钟"),
    "train.steps": ("steps", "步"),
    "train.amount": ("How many", "数量"),
    "train.run": ("Folder of the run", "运行文件夹"),
    "train.start": ("Train, or go on", "开始或继续训练"),
    "train.losses": ("Losses", "损失"),
    "train.samples": ("Samples", "样本"),
    "use": ("Use", "使用"),
    "use.given": ("Given: leave empty what is not", "已知内容：未知的留空"),
    "use.to": ("To generate", "要生成的字段"),
    "use.count": ("Number of samples", "样本数"),
    "use.seed": ("Seed", "随机种子"),
    "use.generate": ("Generate", "生成"),
    "use.explain": ("Explain", "解释"),
    "use.search": ("Search real rows", "搜索真实数据"),
    "use.made": ("Generated", "生成结果"),
    "use.found": ("Found", "搜索结果"),
    "use.unfamiliar": (
        "unlike what the model learned from; what is generated may be wrong.",
        "与模型学过的内容差异很大，生成结果可能有误。",
    ),
    "use.none": ("Choose a field to generate.", "请选择要生成的字段。"),
    "fill": ("Fill", "补全"),
    "fill.upload": ("Upload a table with missing cells", "上传含缺失单元格的表格"),
    "fill.source": ("or the path of a table", "或填写表格路径"),
    "fill.confidence": ("Add confidence", "附加置信度"),
    "fill.least": ("Leave a cell empty below this confidence", "置信度低于此值时留空"),
    "fill.draw": ("Draw every cell, in place of the best guess", "随机抽样，而非最佳猜测"),
    "fill.start": ("Fill", "补全"),
    "fill.done": ("Filled table", "补全后的表格"),
    "fill.first": ("First rows", "前几行"),
    "score": ("Score", "评分"),
    "score.split": ("Rows", "数据划分"),
    "score.rows": ("Most rows for each direction", "每个方向的最大行数"),
    "score.judge": ("Steps of the judge's training; 0: none", "评判模型的训练步数；0 表示不使用"),
    "score.quick": ("Only agreement with the inputs", "仅评估与输入的一致性"),
    "score.start": ("Evaluate", "评估"),
    "score.others": ("Compare with", "比较对象"),
    "score.compare": ("Compare", "比较"),
}  # fmt: skip
"""By key, in the order of ``LANGUAGES``."""


class Texts:
    """What the studio says in one language: ``texts("data.upload")``.

    Args:
        language: One of ``LANGUAGES``.
    """

    def __init__(self, language: Language):
        self.language = language
        self._place = list(LANGUAGES).index(language)

    def __call__(self, key: str) -> str:
        return TEXTS[key][self._place]


def preferred(accepted: str) -> Language:
    """The first language of a header ``Accept-Language`` that the studio speaks; English if it speaks none."""
    codes = (part.split(";")[0].strip().split("-")[0].lower() for part in accepted.split(","))
    known: dict[str, Language] = {code: code for code in LANGUAGES}
    return next((known[code] for code in codes if code in known), "en")
